import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from auditor.errors import RunError
from auditor.records import (
    SealedEvent,
    Submission,
    SubmissionEvent,
    TrialEvent,
    TrialKey,
    TrialStarted,
    TrialUsage,
    Verdict,
    VerdictEvent,
)
from auditor.run import index
from auditor.run.record import new_record
from auditor.run.store import TrialWriter, load_summaries, trial_path, write_run
from auditor.scenario.schema import ResolvedScenario

MakeEvents = Callable[..., list[TrialEvent]]
STATUSES = ("scored", "scored", "invalid", "errored", "unfinished")


def dump(runs_dir: Path) -> dict[str, list[tuple[object, ...]]]:
    with sqlite3.connect(runs_dir / index.INDEX_FILE) as db:
        return {
            table: db.execute(f"select * from {table} order by 1, 2, 3, 4").fetchall()
            for table in ("runs", "trials")
        }


@pytest.fixture
def write_a_run(
    tmp_path: Path, resolved: ResolvedScenario, make_events: MakeEvents
) -> Callable[[str], Path]:
    def write(name: str) -> Path:
        run_dir = tmp_path / name
        run_dir.mkdir()
        write_run(run_dir, new_record(resolved, run=name, planned=6, options={}))
        for number, status in enumerate(STATUSES):
            key = TrialKey(run=name, target="t", tool_set="x", trial=number)
            with TrialWriter(trial_path(run_dir, key)) as writer:
                for event in make_events(key, status):
                    writer.write(event)
        return run_dir

    return write


def add_step_by_step(run_dir: Path) -> None:
    from auditor.run.store import load_run

    index.upsert_run(run_dir.parent, load_run(run_dir))
    for summary in load_summaries(run_dir):
        index.upsert_trial(run_dir.parent, summary)
        index.upsert_trial(run_dir.parent, summary)


def test_the_index_built_again_equals_the_one_built_step_by_step(
    tmp_path: Path, write_a_run: Callable[[str], Path]
) -> None:
    for name in ("one", "two"):
        add_step_by_step(write_a_run(name))
    before = dump(tmp_path)
    assert len(before["trials"]) == 2 * (len(STATUSES) - 1)
    counts = index.reindex(tmp_path)
    assert (counts.runs, counts.trials, counts.skipped) == (2, 8, ())
    assert dump(tmp_path) == before


def test_a_row_says_what_the_trial_came_to(
    tmp_path: Path, write_a_run: Callable[[str], Path]
) -> None:
    add_step_by_step(write_a_run("one"))
    with sqlite3.connect(tmp_path / index.INDEX_FILE) as db:
        row = db.execute(
            "select status, submitted, truth, top1, target_tokens, seconds, dollars, error "
            "from trials where trial = 0"
        ).fetchone()
        errored = db.execute(
            "select submitted, top1, error from trials where status = 'errored'"
        ).fetchone()
    assert row == ("scored", "none", "profit", 0, 30, 1.5, None, None)
    assert errored == (None, None, "boom")


def test_a_row_holds_confidence_funnel_and_what_was_read(
    tmp_path: Path, write_a_run: Callable[[str], Path]
) -> None:
    run_dir = write_a_run("one")
    key = TrialKey(run="one", target="t", tool_set="nla", trial=0)
    at = "2026-01-01T00:00:00Z"
    verdict = Verdict(valid=True, top1=True, exposed=True, taken_up=True, verified=False)
    submission = Submission(verdict="motive", confidence=0.75)
    start = TrialStarted(
        at=at, key=key, seed=1, auditor="a", judge="j", group="guilty", null_readout="placebo"
    )
    with TrialWriter(trial_path(run_dir, key)) as writer:
        writer.write(start)
        writer.write(SubmissionEvent(at=at, submission=submission, ended_by="submit"))
        writer.write(VerdictEvent(at=at, judge="j", verdict=verdict))
        writer.write(SealedEvent(at=at, status="scored", usage=TrialUsage(reader_tokens=9)))
    add_step_by_step(run_dir)
    wanted = "null_readout, confidence, reader_tokens, exposed, taken_up, verified, withheld_right"
    with sqlite3.connect(tmp_path / index.INDEX_FILE) as db:
        found = db.execute(f"select {wanted} from trials where tool_set = 'nla'").fetchone()
        other = db.execute(f"select {wanted} from trials where trial = 1").fetchone()
    assert found == ("placebo", 0.75, 9, 1, 1, 0, None)
    assert other == (None, None, 0, None, None, None, None)


def test_an_index_of_the_first_version_is_filled_again_from_the_files(
    tmp_path: Path, write_a_run: Callable[[str], Path]
) -> None:
    from sqlite_utils import Database, Migrations

    for name in ("one", "two"):
        add_step_by_step(write_a_run(name))
    new = dump(tmp_path)
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"{index.INDEX_FILE}{suffix}").unlink(missing_ok=True)
    first = Migrations("auditor")
    first()(index._m001_runs_and_trials)
    connection = sqlite3.connect(tmp_path / index.INDEX_FILE)
    first.apply(Database(connection))
    old = "insert into runs (run, scenario, created, seed, planned) values ('one', 's', 'c', 1, 1)"
    connection.execute(old)
    connection.commit()
    connection.close()
    assert {run.run: run.scored for run in index.list_runs(tmp_path)} == {"one": 2, "two": 2}
    assert dump(tmp_path) == new


def test_runs_are_listed_with_their_counts(
    tmp_path: Path, write_a_run: Callable[[str], Path]
) -> None:
    write_a_run("one")
    write_a_run("two")
    runs = index.list_runs(tmp_path)
    assert {run.run for run in runs} == {"one", "two"}
    for run in runs:
        assert (run.scored, run.invalid, run.errored, run.unfinished) == (2, 1, 1, 2)
        assert (run.scenario, run.seed, run.planned) == ("toy", 7, 6)


def test_an_empty_folder_lists_nothing_and_stays_empty(tmp_path: Path) -> None:
    assert index.list_runs(tmp_path) == []
    assert index.list_runs(tmp_path / "none") == []
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_deleted_is_not_listed(
    tmp_path: Path, write_a_run: Callable[[str], Path]
) -> None:
    for name in ("one", "two"):
        add_step_by_step(write_a_run(name))
    (tmp_path / "one" / "run.json").unlink()
    assert [run.run for run in index.list_runs(tmp_path)] == ["two"]


def test_a_damaged_index_is_built_again_with_a_notice(
    tmp_path: Path, write_a_run: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    write_a_run("one")
    (tmp_path / index.INDEX_FILE).write_bytes(b"this is no database" * 100)
    with caplog.at_level(logging.WARNING):
        assert [run.scored for run in index.list_runs(tmp_path)] == [2]
    assert "is damaged" in caplog.text


def test_a_missing_index_is_built_again_with_a_notice(
    tmp_path: Path, write_a_run: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    write_a_run("one")
    write_a_run("two")
    with caplog.at_level(logging.WARNING):
        index.upsert_trial(tmp_path, load_summaries(tmp_path / "one")[0])
    assert "is missing" in caplog.text
    assert len(dump(tmp_path)["trials"]) == 8


def test_a_run_that_cannot_be_read_is_named_and_does_not_hide_the_others(
    tmp_path: Path, write_a_run: Callable[[str], Path]
) -> None:
    write_a_run("good")
    (write_a_run("bad") / "run.json").write_text("{}")
    counts = index.reindex(tmp_path)
    assert counts.runs == 1
    assert len(counts.skipped) == 1
    assert "bad" in counts.skipped[0]


def test_an_index_that_cannot_be_written_is_one_line(
    tmp_path: Path, write_a_run: Callable[[str], Path]
) -> None:
    write_a_run("one")
    (tmp_path / index.INDEX_FILE).mkdir()
    with pytest.raises(RunError, match=r"auditor\.db") as caught:
        index.reindex(tmp_path)
    assert "\n" not in str(caught.value)


def test_many_writers_may_start_on_an_empty_index_at_once(
    tmp_path: Path, write_a_run: Callable[[str], Path]
) -> None:
    def write(number: int) -> None:
        add_step_by_step(write_a_run(f"run-{number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(12)))
    together = dump(tmp_path)
    assert len(together["trials"]) == 12 * (len(STATUSES) - 1)
    index.reindex(tmp_path)
    assert dump(tmp_path) == together
