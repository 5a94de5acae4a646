"""Sidecars of activation datasets."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nla_core.dataset_sidecar import (
    parse_dataset_sidecar,
    read_dataset_sidecar,
    write_dataset_sidecar,
)
from nla_core.sidecar import SidecarError


def dataset(**changes: Any) -> dict[str, Any]:
    return {
        "dataset_id": "base_model_L20_0a1b2c3d",
        "stage": "base",
        "row_count": 500,
        "extraction": {
            "base_model": "some/base",
            "d_model": 32,
            "layer_index": 20,
            "norm": "none",
            "corpus": "some/corpus",
            "corpus_slice": {"start": 0, "length": 100},
            "positions_per_doc": 5,
        },
        "kind": "nla_dataset",
        "schema_version": 1,
        "keep_debug_metadata": True,
        "tokens": {
            "injection_char": "㈎",
            "injection_token_id": 3,
            "injection_left_neighbor_id": 1,
            "injection_right_neighbor_id": 2,
        },
        "prompt_templates": {"actor": "{injection_char}", "critic": "{explanation}"},
        "api_summaries": {"model": "m", "max_tokens": 300, "temperature": 1.0},
        "parent_datasets": ["other"],
        "created_at": "2026-05-01T00:00:00",
        "created_by": "somewhere",
        **changes,
    }


def parse(meta: dict[str, Any]) -> Any:
    return parse_dataset_sidecar(yaml.safe_dump(meta), source="rows")


def test_a_dataset_sidecar_round_trips_beside_its_file(tmp_path: Path) -> None:
    found = parse(dataset(unknown_here=1))
    path = write_dataset_sidecar(found, tmp_path / "rows.parquet")
    assert path.name == "rows.parquet.nla_meta.yaml"
    assert read_dataset_sidecar(tmp_path / "rows.parquet@[0:10]") == found
    written = yaml.safe_load(path.read_text())
    assert written["schema_version"] == 1
    assert "git_commit" not in written
    assert "injection_scale" not in path.read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "nla_model"}, "kind must be nla_dataset"),
        ({"schema_version": 2}, "schema_version must be 1, got 2"),
        ({"stage": "explained"}, "stage must be one of base, av_sft, ar_sft, rl"),
        ({"row_count": None}, "row_count is missing"),
        ({"extraction": {"d_model": 3, "x": 1}}, r"extraction\.x is unknown"),
        ({"tokens": {"y": 1}}, r"tokens\.y is unknown"),
        ({"api_summaries": {"z": 1}}, r"api_summaries\.z is unknown"),
        ({"extraction": dataset()["extraction"] | {"norm": "unit"}}, "stored raw"),
    ],
)
def test_a_malformed_dataset_sidecar_is_refused_by_field(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SidecarError, match=f"rows: .*{message}"):
        parse(dataset(**changes))


_KEYS = st.sampled_from(
    [*dataset(), *dataset()["extraction"], *dataset()["tokens"], *dataset()["api_summaries"],
     "actor", "critic", "av", "ar", "start", "length", "instruction_prompt", "git_commit"]
)  # fmt: skip
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.binary(max_size=4),
    st.sampled_from(["nla_dataset", "none", "av_sft", "base", "{injection_char}", "{"]),
)
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(_KEYS, st.integers(), st.none()), inner, max_size=6),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_KEYS, _TREES), max_size=4))
def test_changed_dataset_sidecars_give_a_value_or_a_sidecar_error(
    changes: list[tuple[str, Any]],
) -> None:
    meta = yaml.safe_load(yaml.safe_dump(dataset()))
    sections = [meta, *(part for part in meta.values() if isinstance(part, dict))]
    sections.append(meta["extraction"]["corpus_slice"])
    for key, value in changes:
        homes = [section for section in sections if key in section] or [meta]
        homes[0][key] = value
    message = ""
    try:
        found = parse(meta)
        assert found.extraction.d_model >= 1
        again = parse_dataset_sidecar(found.to_yaml(), source="again")
        assert repr(again) == repr(found)  # Not a number is not equal to itself.
    except SidecarError as error:
        message = str(error)
    assert "\n" not in message


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=60), _TREES.map(yaml.safe_dump)))
def test_arbitrary_text_gives_a_sidecar_error(text: str) -> None:
    with pytest.raises(SidecarError):
        parse_dataset_sidecar(text, source="rows")
