"""The card of a pair: unknown stays unknown, and files that are not those measured are named."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nla_core.card import CARD_NAME, Card, CardError, file_sha256, find_card, hash_files

FIGURES = [
    *("fve_warm", "fve_rl", "fve_warm_greedy", "fve_rl_greedy"),
    *("shuffled_fve", "random_vector_fve", "copied_context_fve", "label_fve"),
    *("motive_precision", "motive_precision_greedy", "motive_precision_warm"),
    *("motive_recall", "motive_recall_greedy", "motive_recall_warm"),
    *("invented_motive_rate", "invented_motive_rate_greedy"),
    *("invented_motive_rate_warm", "invented_motive_rate_warm_greedy"),
    *("failed_explanations", "mean_tokens", "shuffled_label_gap"),
]


@given(
    figures=st.dictionaries(st.sampled_from(FIGURES), st.floats(-1e9, 1e9) | st.none()),
    steps=st.lists(st.tuples(st.integers(0, 10**6), st.floats(-10, 1) | st.none()), max_size=4),
    claims=st.dictionaries(
        st.text(max_size=5), st.fixed_dictionaries({"precision": st.floats(0, 1), "n_said": st.integers(0, 9)}), max_size=2
    ),
)  # fmt: skip
def test_a_card_reads_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    figures: dict[str, float | None],
    steps: list[tuple[int, float | None]],
    claims: dict[str, Any],
) -> None:
    folder = tmp_path_factory.mktemp("card")
    card = Card.model_validate({**figures, "fve_by_step": steps, "claims": claims})
    card.write(folder)
    assert Card.read(folder) == card
    assert [path.name for path in folder.iterdir()] == [CARD_NAME]


def test_figures_that_nobody_measured_are_null_and_never_zero(tmp_path: Path) -> None:
    written = json.loads(Card(name="tiny").write(tmp_path).read_text())
    assert all(written[name] is None for name in FIGURES)
    assert written["format"] == 1


def test_trainers_may_add_fields(tmp_path: Path) -> None:
    Card.model_validate({"name": "tiny", "ablations": {"no_kl": 0.5}}).write(tmp_path)
    assert Card.read(tmp_path).model_extra == {"ablations": {"no_kl": 0.5}}


def test_a_card_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Card(name="tiny").name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"format": 2}', "format"),
        ('{"fve_rl": "high"}', "fve_rl"),
        ('{"fve_rl": NaN}', "fve_rl"),
        ('{"claims": {"motive": {"precision": "x"}}}', "claims.motive.precision"),
        ('{"d_model": 0}', "d_model"),
        ("[]", "object"),
        ("{", "JSON"),
        ("", "JSON"),
    ],
)
def test_a_malformed_card_is_refused_in_one_line(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / CARD_NAME).write_text(text)
    with pytest.raises(CardError) as refused:
        Card.read(tmp_path)
    assert what in str(refused.value)
    assert "\n" not in str(refused.value)


def test_figures_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValidationError):
        Card(fve_rl=float("nan"))


def test_the_card_is_found_from_the_pair_and_from_its_halves(tmp_path: Path) -> None:
    for half in ("av", "ar"):
        (tmp_path / half).mkdir()
    assert find_card(tmp_path) is None
    with pytest.raises(CardError, match="there is no nla_card.json"):
        Card.read(tmp_path)
    inside = Card(name="inside").write(tmp_path / "av")
    assert find_card(tmp_path) == find_card(tmp_path / "av") == inside
    beside = Card(name="beside").write(tmp_path)
    assert find_card(tmp_path) == find_card(tmp_path / "ar") == beside


def test_files_that_are_not_those_measured_are_named(tmp_path: Path) -> None:
    (tmp_path / "av").mkdir()
    for name in ("av/weights", "av/table", "ar"):
        (tmp_path / name).write_text(name)
    card = Card(sha256=hash_files(tmp_path))
    card.write(tmp_path)
    assert set(card.sha256) == {"av/weights", "av/table", "ar"}
    assert hash_files(tmp_path) == card.sha256
    assert card.verify_hashes(tmp_path) == []
    (tmp_path / "av/weights").write_text("tampered")
    (tmp_path / "ar").unlink()
    assert card.verify_hashes(tmp_path) == [
        "ar is missing",
        "av/weights is not the file that was measured",
    ]


@pytest.mark.parametrize("name", ["/etc/hostname", "../outside", "av/../../outside"])
def test_a_card_vouches_for_no_file_outside_its_folder(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    inside = tmp_path / "pair"
    inside.mkdir()
    card = Card(sha256={name: file_sha256(outside)})
    assert card.verify_hashes(inside) == [f"{name} lies outside the folder of the card"]
