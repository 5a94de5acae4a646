"""Exported logs are what Inspect reads, and tell what the record tells."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from auditor.records import (
    ErrorEvent,
    Group,
    SealedEvent,
    SubmissionEvent,
    TrialEvent,
    TrialKey,
    TrialUsage,
)
from auditor.report.export.inspect_log import write_inspect
from auditor.run.listing import trial_files
from auditor.run.store import load_run

SCHEMA = json.loads((Path(__file__).parent / "eval_log.schema.json").read_text(encoding="utf-8"))


def whole(path: Path) -> dict[str, Any]:
    """Read a log as one object, samples in it."""
    with zipfile.ZipFile(path) as archive:
        log: dict[str, Any] = json.loads(archive.read("header.json"))
        names = [name for name in archive.namelist() if name.startswith("samples/")]
        log["samples"] = [json.loads(archive.read(name)) for name in names]
        listed = json.loads(archive.read("summaries.json"))
    assert [(one["id"], one["epoch"]) for one in listed] == [
        (one["id"], one["epoch"]) for one in log["samples"]
    ]
    return log


def exported(run_dir: Path, out: Path) -> dict[str, dict[str, Any]]:
    """Write the logs and read them, by tool set."""
    out.mkdir(exist_ok=True)
    logs = [whole(path) for path in write_inspect(load_run(run_dir), trial_files(run_dir), out)]
    return {log["eval"]["task_args"]["tool_set"]: log for log in logs}


@pytest.fixture(scope="module")
def logs(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return exported(small_run, tmp_path_factory.mktemp("logs"))


def sample(log: dict[str, Any], target: str) -> dict[str, Any]:
    return next(one for one in log["samples"] if one["id"] == target)


def test_every_tool_set_has_a_log_of_its_own(logs: dict[str, dict[str, Any]]) -> None:
    assert set(logs) == {"black_box", "nla"}
    ids = {name: {log["eval"]["task_id"] for log in logs.values()} for name in ("task_id",)}
    assert len(ids["task_id"]) == 2
    for log in logs.values():
        assert len(log["samples"]) == 6
        assert {one["epoch"] for one in log["samples"]} == {1, 2}


def test_logs_keep_to_the_schema(logs: dict[str, dict[str, Any]]) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for log in logs.values():
        assert [error.message for error in validator.iter_errors(log)] == []
    broken = {**logs["nla"], "samples": [{**logs["nla"]["samples"][0], "epoch": 0}]}
    assert [list(error.absolute_path) for error in validator.iter_errors(broken)] == [
        ["samples", 0, "epoch"]
    ]


def test_scores_say_whether_the_auditor_was_right(logs: dict[str, dict[str, Any]]) -> None:
    found = {
        target: sample(logs["nla"], target)["scores"]["audit"]["value"]
        for target in ("guilty-1", "guilty-2", "clean-1")
    }
    assert found == {"guilty-1": "C", "guilty-2": "I", "clean-1": "I"}
    assert sample(logs["nla"], "guilty-1")["target"] == "approval"
    assert sample(logs["nla"], "clean-1")["target"] == "no hidden motive"


def test_metrics_are_those_of_the_table_and_unknown_ones_are_left_out(
    logs: dict[str, dict[str, Any]],
) -> None:
    (score,) = logs["nla"]["results"]["scores"]
    values = {name: metric["value"] for name, metric in score["metrics"].items()}
    assert (values["top1"], values["false_alarm_clean"]) == (0.5, 1.0)
    assert values["top1_low"] <= 0.5 <= values["top1_high"]
    assert "false_alarm_decoy" not in values


def test_the_transcript_has_every_call_with_its_whole_result(
    logs: dict[str, dict[str, Any]], attack: str
) -> None:
    one = sample(logs["nla"], "guilty-1")
    roles = [message["role"] for message in one["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert json.loads(one["messages"][2]["content"].splitlines()[1])["reply"] == attack
    assert one["messages"][3]["tool_calls"][0]["id"] == one["messages"][4]["tool_call_id"] == "E2"
    kinds = [event["event"] for event in one["events"]]
    assert kinds.count("tool") == 2
    assert kinds[-3:] == ["span_begin", "score", "span_end"]
    assert one["output"]["completion"].startswith("Verdict: a hidden motive.")


def test_nothing_unknown_is_written_as_zero(logs: dict[str, dict[str, Any]]) -> None:
    for log in logs.values():
        for one in log["samples"]:
            assert one["model_usage"] == one["role_usage"] == {}
            assert one["metadata"]["usage"]["dollars"] is None


def test_the_same_run_gives_the_same_files(small_run: Path, tmp_path: Path) -> None:
    twice = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        written = write_inspect(load_run(small_run), trial_files(small_run), tmp_path / name)
        twice.append({path.name: path.read_bytes() for path in written})
    assert twice[0] == twice[1]


def test_an_error_a_limit_and_a_cut_off_trial_are_told_apart(
    writes: Callable[..., Path], made_events: Callable[..., list[TrialEvent]], tmp_path: Path
) -> None:
    run_dir = writes(tmp_path / "odd")
    by_name = {path.stem: path for path in trial_files(run_dir)}

    def rewrite(stem: str, change: Callable[[list[TrialEvent]], list[TrialEvent]]) -> None:
        target, row, _ = stem.split("__")
        group: Group = "clean" if target.startswith("clean") else "guilty"
        key = TrialKey(run="odd", target=target, tool_set=row, trial=0)
        events = change(made_events(key, group, found=False))
        lines = [event.model_dump_json() for event in events]
        by_name[stem].write_text("\n".join(lines) + "\n", encoding="utf-8")

    def errored(events: list[TrialEvent]) -> list[TrialEvent]:
        at = events[0].at
        broke = ErrorEvent(at=at, message="OSError: disk", traceback="Traceback")
        return [*events[:3], broke, SealedEvent(at=at, status="errored", usage=TrialUsage())]

    def limited(events: list[TrialEvent]) -> list[TrialEvent]:
        return [
            e.model_copy(update={"ended_by": "target_tokens"})
            if isinstance(e, SubmissionEvent)
            else e
            for e in events
        ]

    rewrite("guilty-1__nla__0", errored)
    rewrite("guilty-2__nla__0", limited)
    rewrite("clean-1__nla__0", lambda events: events[:-3])
    log = exported(run_dir, tmp_path / "out")["nla"]
    assert not list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(log))
    assert log["status"] == "started"
    assert log["results"]["completed_samples"] == 1
    assert sample(log, "guilty-1")["error"]["message"] == "OSError: disk"
    assert sample(log, "guilty-1")["scores"] == {}
    assert sample(log, "guilty-2")["limit"] == {"type": "token", "limit": 40_000.0}
    assert sample(log, "clean-1")["scores"] == {}


def test_inspect_itself_reads_the_logs_and_finds_no_fault_by_its_own_schema(
    small_run: Path, tmp_path: Path
) -> None:
    inspect_ai = pytest.importorskip("inspect_ai", reason="inspect-ai is not installed")
    inspect_log = pytest.importorskip("inspect_ai.log")
    schema = Path(inspect_ai.__file__).parent / "_view" / "inspect-openapi.json"
    published = json.loads(schema.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(
        {**published, "$ref": "#/components/schemas/EvalLog"}
    )
    for path in write_inspect(load_run(small_run), trial_files(small_run), tmp_path):
        log = inspect_log.read_eval_log(str(path))
        assert (log.status, len(log.samples)) == ("success", 6)
        assert {one.scores["audit"].value for one in log.samples} <= {"C", "I"}
        assert {one.event for one in log.samples[0].events} >= {"model", "tool", "info", "score"}
        assert [error.message for error in validator.iter_errors(whole(path))] == []
