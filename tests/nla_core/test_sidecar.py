"""Reading and writing `nla_meta.yaml` in all its spellings."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nla_core.sidecar import (
    Sidecar,
    SidecarError,
    TokenIds,
    parse_sidecar,
    read_sidecar,
    sidecar_path,
    write_sidecar,
)

TOKENS = {
    "injection_char": "㈎",
    "injection_token_id": 149705,
    "injection_left_neighbor_id": 29,
    "injection_right_neighbor_id": 522,
    "critic_suffix_ids": [1318, 29, 366, 1708, 29],
}


def av(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "nla_model",
        "schema_version": 2,
        "role": "av",
        "stage": "rl",
        "base_checkpoint": "some/base",
        "d_model": 3584,
        "extraction": {"injection_scale": 150.0, "mse_scale": 59.87},
        "tokens": TOKENS,
        "prompt_templates": {"av": "<c>{injection_char}</c>", "ar": "<t>{explanation}</t>"},
        "extraction_layer_index": 20,
        **changes,
    }


def ar(**changes: Any) -> dict[str, Any]:
    return av(**{"role": "ar", "extraction": {"injection_scale": None}} | changes)


def parse(meta: dict[str, Any]) -> Sidecar:
    return parse_sidecar(yaml.safe_dump(meta, sort_keys=False))


def test_both_spellings_give_the_same_value() -> None:
    templates = av()["prompt_templates"]
    trainer = av(
        role="actor", prompt_templates={"actor": templates["av"], "critic": templates["ar"]}
    )
    assert parse(trainer) == parse(av())
    assert parse(ar(role="critic")) == parse(ar())


def test_the_released_spelling_of_a_template_comes_first() -> None:
    both = {"av": "{injection_char} a", "actor": "{injection_char} b"}
    assert parse(av(prompt_templates=both)).av_template == "{injection_char} a"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (None, None),
        ("raw", None),
        ("none", None),
        ("sqrt_d_model", math.sqrt(3584)),
        (30, 30.0),
        (80000.0, 80000.0),
        ("150", 150.0),
        ("1e5", 1e5),
    ],
)
def test_scales_are_read_in_every_spelling(written: Any, value: float | None) -> None:
    meta = av(extraction={"injection_scale": 150, "mse_scale": written})
    assert parse(meta).mse_scale == value
    if value is None:
        with pytest.raises(SidecarError, match=r"extraction\.injection_scale must be a number"):
            parse(av(extraction={"injection_scale": written}))
    else:
        assert parse(av(extraction={"injection_scale": written})).injection_scale == value


def test_an_absent_mse_scale_is_the_root_of_the_width_and_a_null_one_is_none() -> None:
    assert parse(av(extraction={"injection_scale": 150})).mse_scale == math.sqrt(3584)
    assert parse(av(extraction={"injection_scale": 150, "mse_scale": None})).mse_scale is None


@pytest.mark.parametrize("bad", ["nan", "inf", 0, -3, True, "many", [1], {}, float("nan"), "1e999"])
def test_other_scales_are_refused(bad: Any) -> None:
    with pytest.raises(SidecarError, match=r"extraction\.mse_scale must be a positive number"):
        parse(av(extraction={"injection_scale": 150, "mse_scale": bad}))


@pytest.mark.parametrize(
    ("blocks", "layer"),
    [
        ({"critic": {"extraction_layer_index": 20}, "extraction_layer_index": 20}, 20),
        ({"ar": {"extraction_layer_index": 7}}, 7),
        ({"critic": {"num_hidden_layers": 7}}, 7),
        ({"ar": {"num_hidden_layers": 7}}, 7),
        ({"critic": {"extraction_layer_index": 7, "num_hidden_layers": 9}}, 7),
        ({"critic": None, "extraction_layer_index": 5}, 5),
        ({"critic": {}, "extraction_layer_index": 5}, 5),
        ({}, None),
    ],
)
def test_the_layer_is_found_wherever_it_is_written(
    blocks: dict[str, Any], layer: int | None
) -> None:
    meta = {key: value for key, value in ar().items() if key != "extraction_layer_index"}
    found = parse(meta | blocks)
    assert found.layer == layer
    assert found.reconstructor_layer(42) == (41 if layer is None else layer)


def test_a_layer_that_nothing_tells_is_refused() -> None:
    meta = {key: value for key, value in ar().items() if key != "extraction_layer_index"}
    with pytest.raises(SidecarError, match="does not say which layer"):
        parse(meta).reconstructor_layer()


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (av(kind="nla_dataset"), "kind must be nla_model, got 'nla_dataset'; this one describes a"),
        (av(kind="other"), "kind must be nla_model"),
        (av(kind=None), "kind is missing"),
        (av(role="judge"), "role must be one of av, actor, ar, critic, got 'judge'"),
        (av(d_model="3584"), "d_model must be an integer of 1 or more, got '3584'"),
        (av(d_model=True), "d_model must be an integer"),
        (av(d_model=10**400), "d_model must be an integer"),
        (av(tokens=None), "tokens is missing"),
        (av(tokens=[1]), "tokens must be a mapping"),
        (av(tokens=TOKENS | {"injection_char": "ab"}), "injection_char must be one character"),
        (av(tokens=TOKENS | {"injection_char": 7}), r"tokens\.injection_char must be text"),
        (av(tokens=TOKENS | {"injection_token_id": -1}), r"tokens\.injection_token_id must be"),
        (av(tokens=TOKENS | {"critic_suffix_ids": ["a"]}), "must be a list of token ids"),
        (av(prompt_templates={"ar": "{explanation}"}), r"prompt_templates\.av is missing"),
        (av(prompt_templates={"av": "no place"}), r"exactly once and no other, found \[\]"),
        (av(prompt_templates={"av": "{injection_char}" * 2}), "exactly once"),
        (av(prompt_templates={"av": "{injection_char} {0}"}), "exactly once"),
        (av(prompt_templates={"av": "{injection_char} {"}), "unbalanced braces"),
        (ar(critic={"extraction_layer_index": 3}), "is 3, but .* is 20"),
        (av(extraction_layer_index=-1), "must be an integer of 0 or more"),
        (av(extraction=7), "extraction must be a mapping, got 7"),
    ],
)
def test_a_malformed_sidecar_is_refused_by_field_in_one_line(
    meta: dict[str, Any], message: str
) -> None:
    with pytest.raises(SidecarError, match=message) as caught:
        parse(meta)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "- a",
        "a: [",
        "\t",
        "a: b: c",
        "[" * 5000,
        "{a: 2001-99-99}",
        "!!python/object:os.system x",
        "? {a: 1}\n: 2",
        "a: !!binary 'x'",
        "x: " + "9" * 5000,
        "x: " + "9:" * 300 + "9.0",
        "&a [*a]",
        "a: !!timestamp '7'",
        "x" * 2_000_000,
        "\0",
    ],
)
def test_text_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(SidecarError):
        parse_sidecar(text)


def test_aliases_do_not_blow_up_a_message() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 25)]
    with pytest.raises(SidecarError) as caught:
        parse_sidecar("\n".join([*lines, "kind: nla_model", "role: *a24"]))
    assert len(str(caught.value)) < 1000


def test_informational_fields_never_refuse() -> None:
    odd = parse(
        av(
            schema_version="two",
            stage=["x"],
            trained_on="a description",
            created_at=yaml.safe_load("2026-05-01"),
            training={"lr": 1e-5, "nested": {"a": 1}, 3: 4},
            something_new={"a": 1},
        )
    )
    assert odd.schema_version is None
    assert odd.stage is None
    assert odd.trained_on == ("a description",)
    assert odd.created_at == "2026-05-01"
    assert dict(odd.training) == {"lr": 1e-5}


def test_what_is_written_loads_in_the_trainer_and_in_the_released_client(tmp_path: Path) -> None:
    write_sidecar(parse(ar(role="critic")), tmp_path)
    text = (tmp_path / "nla_meta.yaml").read_text()
    assert "\\u320E" in text
    meta = yaml.safe_load(text)
    assert meta["kind"] == "nla_model"
    assert meta["schema_version"] == 2
    assert meta["role"] == "critic"
    assert meta["critic"] == {"extraction_layer_index": 20}
    assert meta["extraction"] == {"injection_scale": None, "mse_scale": math.sqrt(3584)}
    assert set(meta["prompt_templates"]) == {"actor", "critic"}
    assert set(meta["tokens"]) == set(TOKENS)
    write_sidecar(parse(av()), tmp_path)
    meta = yaml.safe_load((tmp_path / "nla_meta.yaml").read_text())
    assert "critic" not in meta
    assert isinstance(meta["extraction"]["injection_scale"], float)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SidecarError, match="does not exist"):
        read_sidecar(tmp_path)
    (tmp_path / "nla_meta.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(SidecarError, match="not UTF-8"):
        read_sidecar(tmp_path)
    (tmp_path / "nla_meta.yaml").unlink()
    (tmp_path / "nla_meta.yaml").mkdir()
    with pytest.raises(SidecarError, match="nla_meta"):
        read_sidecar(tmp_path)


def test_sidecars_lie_in_folders_and_beside_files(tmp_path: Path) -> None:
    assert sidecar_path(tmp_path) == tmp_path / "nla_meta.yaml"
    assert sidecar_path(tmp_path / "new") == tmp_path / "new/nla_meta.yaml"
    data = tmp_path / "rows.parquet.nla_meta.yaml"
    assert sidecar_path(tmp_path / "rows.parquet") == data
    assert sidecar_path(f"{tmp_path}/rows.parquet@[0:100]") == data


_KEYS = st.sampled_from(
    [*av(), *TOKENS, "av", "ar", "actor", "critic", "num_hidden_layers", "injection_scale",
     "mse_scale", "training", "trained_on"]
)  # fmt: skip
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.binary(max_size=4),
    st.sampled_from(["nla_model", "av", "critic", "raw", "sqrt_d_model", "{injection_char}", "{"]),
)
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(_KEYS, st.integers(), st.none()), inner, max_size=6),
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([av(), ar()]), st.lists(st.tuples(_KEYS, _TREES), max_size=4))
def test_changed_sidecars_give_a_value_or_a_sidecar_error(
    meta: dict[str, Any], changes: list[tuple[str, Any]]
) -> None:
    meta = yaml.safe_load(yaml.safe_dump(meta))
    sections = [meta, meta["extraction"], meta["tokens"], meta["prompt_templates"]]
    for key, value in changes:
        homes = [section for section in sections if key in section] or [meta]
        homes[0][key] = value
    message = ""
    try:
        assert parse(meta).d_model >= 1
    except SidecarError as error:
        message = str(error)
    assert "\n" not in message


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=60), _TREES.map(yaml.safe_dump)))
def test_arbitrary_text_gives_a_sidecar_error(text: str) -> None:
    with pytest.raises(SidecarError):
        parse_sidecar(text)


_TEXT = st.text(max_size=30).map(lambda text: text.replace("{", "").replace("}", ""))
_SCALES = st.floats(1e-6, 1e9)
_SIDECARS = st.builds(
    Sidecar,
    role=st.sampled_from(["av", "ar"]),
    d_model=st.integers(1, 10**5),
    tokens=st.builds(
        TokenIds,
        injection_char=st.characters(codec="utf-8"),
        injection_token_id=st.integers(0, 10**6),
        injection_left_neighbor_id=st.integers(0, 10**6),
        injection_right_neighbor_id=st.integers(0, 10**6),
        critic_suffix_ids=st.none() | st.lists(st.integers(0, 10**6), min_size=1).map(tuple),
    ),
    av_template=st.tuples(_TEXT, _TEXT).map("{injection_char}".join),
    ar_template=st.tuples(_TEXT, _TEXT).map("{explanation}".join),
    layer=st.none() | st.integers(0, 200),
    injection_scale=_SCALES,
    mse_scale=st.none() | _SCALES,
    stage=st.none() | st.text(max_size=10),
    base_checkpoint=st.none() | st.text(max_size=10),
    trained_on=st.lists(st.text(max_size=10)).map(tuple),
    created_by=st.none() | st.text(max_size=10),
    training=st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5)),
)


@settings(max_examples=200, deadline=None)
@given(_SIDECARS)
def test_what_is_written_is_read_back(sidecar: Sidecar) -> None:
    assert parse_sidecar(sidecar.to_yaml()) == sidecar
