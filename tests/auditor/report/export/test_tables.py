"""Exported tables hold every trial, call, reading and verdict, in documented columns."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import RunError
from auditor.records import Verdict
from auditor.report.export.columns import TABLES, reference
from auditor.report.export.files import recorded
from auditor.report.export.tables import Form, write_tables
from auditor.run.listing import trial_files

FORMS: tuple[Form, ...] = ("jsonl", "csv", "parquet")


def exported(run_dir: Path, out: Path, form: Form) -> dict[str, list[dict[str, Any]]]:
    """Write the tables and read them again."""
    found = {}
    for path in write_tables(recorded(trial_files(run_dir)), out, form):
        if form == "jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            found[path.stem] = [json.loads(line) for line in lines]
        elif form == "csv":
            with path.open(encoding="utf-8", newline="") as file:
                found[path.stem] = list(csv.DictReader(file))
        else:
            import pyarrow.parquet

            found[path.stem] = pyarrow.parquet.read_table(path).to_pylist()
    return found


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_same_tables_and_columns(
    small_run: Path, tmp_path: Path, form: Form
) -> None:
    found = exported(small_run, tmp_path, form)
    assert {name: len(rows) for name, rows in found.items()} == {
        "trials": 12,
        "tool_calls": 24,
        "readings": 36,
        "verdicts": 12,
    }
    for name, model in TABLES.items():
        assert list(found[name][0]) == list(model.model_fields)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{name}.{form}" for name in TABLES
    )


def test_what_a_target_said_is_exported_as_it_said_it(
    small_run: Path, tmp_path: Path, attack: str
) -> None:
    calls = exported(small_run, tmp_path, "jsonl")["tool_calls"]
    assert calls[0]["items"][0]["reply"] == attack
    assert (calls[0]["n_items"], calls[0]["cited"], calls[0]["ok"]) == (1, False, True)


def test_a_reading_stands_with_its_text_and_its_worth(small_run: Path, tmp_path: Path) -> None:
    rows = exported(small_run, tmp_path, "parquet")["readings"]
    by_token = {row["token"]: row for row in rows}
    assert by_token[" start"]["words"] == "start with the bread."
    assert (by_token[" start"]["start"], by_token[" start"]["value"]) == (0, 0.8)
    assert (by_token[" with"]["grade"], by_token[" advice"]["start"]) == ("null", None)


def test_what_is_unknown_is_blank_and_never_zero(small_run: Path, tmp_path: Path) -> None:
    row = exported(small_run, tmp_path, "csv")["trials"][0]
    assert (row["dollars"], row["auditor_tokens"], row["regime"], row["truth"]) == ("", "", "", "")
    assert row["baseline_tokens"] == "0"


def test_no_cell_is_a_formula(small_run: Path, tmp_path: Path) -> None:
    path = small_run / "trials" / "guilty-1__nla__0.jsonl"
    text = path.read_text(encoding="utf-8").replace("The target wants approval", "=1+1")
    copy = tmp_path / "record.jsonl"
    copy.write_text(text, encoding="utf-8")
    (out := tmp_path / "out").mkdir()
    write_tables(recorded([copy]), out, "csv")
    with (out / "trials.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["statement"] == "'=1+1"


def test_a_file_that_could_not_be_finished_is_not_there(small_run: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"type": "nonsense"}\n{"type": "sealed"}\n', encoding="utf-8")
    (out := tmp_path / "out").mkdir()
    with pytest.raises(RunError, match="not an event"):
        write_tables(recorded([*trial_files(small_run), broken]), out, "csv")
    assert list(out.iterdir()) == []


def test_everything_that_a_verdict_says_is_a_column() -> None:
    assert set(Verdict.model_fields) <= set(TABLES["verdicts"].model_fields)


def test_every_column_is_documented() -> None:
    text = reference()
    for name, model in TABLES.items():
        assert f"## {name}\n" in text
        for field, info in model.model_fields.items():
            assert info.description, field
    assert "| `explanation` | text, may be blank | What the verbalizer said. |" in text
    assert "| `items` | JSON, may be blank |" in text
