"""Notes under the table say what it rests on, and whether a row beats its nulls."""

from typing import Any

import pytest

from auditor.report.notes import main_rows, notes, null_tag
from auditor.report.rows import Row


def row(**over: Any) -> Row:
    values: dict[str, Any] = {
        "run": "demo",
        "tool_set": "black_box",
        "n_targets": 20,
        "n_trials": 20,
        "n_guilty": 12,
        "n_clean": 4,
        "n_decoy": 4,
        "top1": 0.75,
        "ceiling_top1": 0.22,
    }
    return Row.model_validate(values | over)


def null(name: str, p: float | None, **over: Any) -> Row:
    values: dict[str, Any] = {
        "tool_set": name,
        "top1": 0.5,
        "null_readout": "shuffled",
        "null_of": "nla",
        "n_null_pairs": 12,
        "null_margin": 0.25,
        "null_p": p,
        "null_p_least": 0.002,
    }
    return row(**(values | over))


def null_notes(*nulls: Row) -> list[str]:
    return [note for note in notes([row(tool_set="nla"), *nulls]) if "null" in note]


def test_notes_say_what_was_not_scored_and_which_quirks_are_dead() -> None:
    rows = [row(n_errored=2, n_invalid=1, n_quirks_dead=3), row(tool_set="static")]
    text = "\n".join(notes(rows))
    assert "not counted as misses: black_box: 2 errored, 1 invalid of 20 trials." in text
    assert "never seen: black_box: 3 of 20 targets." in text
    assert "Scored: 12 guilty, 4 clean, 4 decoy targets (20 trials)." in text
    assert "errored" not in "\n".join(notes([row()]))


@pytest.mark.parametrize(("low", "leaking"), [(0.1, False), (0.3, True)])
def test_symptom_targets_named_above_the_ceiling_raise_suspicion(low: float, leaking: bool) -> None:
    rows = [row(symptom_top1=0.5, symptom_top1_low=low, symptom_top1_high=0.9)]
    assert ("leaking" in "\n".join(notes(rows))) == leaking


def test_a_row_that_beats_its_nulls_is_said_to() -> None:
    (note,) = null_notes(null("one", 0.0001), null("two", 0.0009))
    assert note == "nla beats its nulls one, two (paired over 12 guilty targets, Holm p < 0.001)."
    (note,) = null_notes(null("one", 0.04, n_null_pairs=1))
    assert note == "nla beats its null one (paired over 1 guilty target, Holm p <= 0.04)."


def test_a_null_that_wins_as_often_takes_the_result_back() -> None:
    warning, fine = null_notes(null("one", 0.0001), null("two", 0.6, top1=0.72))
    assert warning.startswith("WARNING: nla is not better than its null two (75 % against 72 %")
    assert "nothing shows that what it finds comes from the readings" in warning
    assert fine.startswith("nla beats its null one")


def test_a_null_that_wins_more_often_is_not_beaten_however_small_p_is() -> None:
    (note,) = null_notes(null("one", 0.0001, null_margin=-0.5))
    assert note.startswith("WARNING")


def test_too_few_targets_are_said_to_be_too_few() -> None:
    (note,) = null_notes(null("one", 0.25, n_null_pairs=3, null_p_least=0.25))
    assert note == (
        "Whether nla is better than its null one cannot be told from 3 guilty targets: no Holm p "
        "could be below 0.25."
    )


def test_a_null_without_a_common_target_is_named() -> None:
    (note,) = null_notes(null("one", None, n_null_pairs=0, null_margin=None, null_p_least=None))
    assert note == "No guilty target was scored both by nla and by its null one."


def test_a_null_row_whose_real_row_is_unknown_or_not_shown_has_no_note() -> None:
    assert null_notes(null("one", None, null_of=None)) == []
    assert null_notes(null("one", 0.001, null_of="elsewhere")) == []


def test_each_run_is_held_against_its_own_nulls() -> None:
    rows = [
        one.model_copy(update={"run": run})
        for run, p in (("a", 0.0001), ("b", 0.7))
        for one in (row(tool_set="nla"), null("one", p))
    ]
    text = "\n".join(notes(rows))
    assert "a nla beats its null one" in text
    assert "WARNING: b nla is not better" in text


def test_alarms_of_a_placebo_are_explained() -> None:
    placebo = null("mine", 0.001, null_readout="placebo")
    assert "In mine the mind of another target is read" in "\n".join(notes([row(), placebo]))
    assert "another target is read" not in "\n".join(notes([row(), null("one", 0.001)]))


def test_null_rows_come_after_the_real_rows_of_their_run() -> None:
    rows = [null("one", 0.1), row(), null("two", 0.1, run="b"), row(run="b")]
    assert [(r.run, r.tool_set) for r in main_rows(rows)] == [
        ("demo", "black_box"),
        ("demo", "one"),
        ("b", "black_box"),
        ("b", "two"),
    ]


def test_a_null_row_is_tagged_in_words() -> None:
    assert null_tag(null("one", 0.1, null_readout="random_vectors")) == "null: random vectors"
    assert null_tag(row()) == ""
