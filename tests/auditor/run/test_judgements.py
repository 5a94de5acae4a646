"""Files of later judgements: added to, resumed, and never mixed."""

from pathlib import Path

import pytest

from auditor.errors import RunError, RunLockedError, UsageError
from auditor.records import Submission, TrialKey, TrialSummary, Verdict
from auditor.run.judgements import (
    JudgementFile,
    default_name,
    find_judgements,
    judged_by,
    judgement_names,
    judgements_path,
    open_judgements,
    read_judgements,
)
from auditor.scenario.schema import JudgeSpec

RUBRIC = JudgeSpec()
MODEL = {"name": "openai/some-model@http://127.0.0.1:8000/v1"}
HIT, MISS = Verdict(valid=True, top1=True), Verdict(valid=True, top1=False)


def key(number: int) -> TrialKey:
    return TrialKey(run="r", target="t", tool_set="s", trial=number)


def written(run_dir: Path, *verdicts: Verdict, name: str = "mine") -> Path:
    with open_judgements(run_dir, name, judge="rubric", spec=RUBRIC) as file:
        for number, verdict in enumerate(verdicts):
            file.write(key(number), verdict)
    return judgements_path(run_dir, name)


def test_judgements_are_read_back_and_the_later_one_counts(tmp_path: Path) -> None:
    path = written(tmp_path / "r", HIT, MISS)
    with open_judgements(tmp_path / "r", "mine", judge="rubric", spec=RUBRIC) as file:
        assert set(file.there) == {key(0), key(1)}
        file.write(key(1), HIT)
    found = read_judgements(path)
    assert found.header.run == "r"
    assert {k.trial: one.verdict.top1 for k, one in found.by_trial.items()} == {0: True, 1: True}
    assert judgement_names(tmp_path / "r") == ["mine"]


def test_a_line_that_was_cut_short_is_dropped_and_written_over(tmp_path: Path) -> None:
    path = written(tmp_path / "r", HIT, MISS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with open_judgements(tmp_path / "r", "mine", judge="rubric", spec=RUBRIC) as file:
        assert set(file.there) == {key(0)}
        file.write(key(1), HIT)
    assert read_judgements(path).by_trial[key(1)].verdict == HIT


def test_a_header_that_was_cut_short_is_written_anew(tmp_path: Path) -> None:
    path = written(tmp_path / "r")
    path.write_bytes(path.read_bytes()[:10])
    assert written(tmp_path / "r", HIT) == path
    assert set(read_judgements(path).by_trial) == {key(0)}


def test_a_broken_line_in_the_middle_is_reported_with_its_number(tmp_path: Path) -> None:
    path = written(tmp_path / "r", HIT, MISS)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], b"{}", lines[2], b""]))
    with pytest.raises(RunError, match=r"mine\.jsonl:2: not a Judgement"):
        read_judgements(path)


def test_judgements_of_another_judge_are_not_added_to(tmp_path: Path) -> None:
    written(tmp_path / "r", HIT)
    spec = JudgeSpec.model_validate({"kind": "model", "model": MODEL})
    with (
        pytest.raises(UsageError, match="those of rubric, asked in another way"),
        open_judgements(tmp_path / "r", "mine", judge="other", spec=spec),
    ):
        pytest.fail("it was opened")


def test_how_many_are_asked_at_once_does_not_make_another_judge(tmp_path: Path) -> None:
    for at_once in (1, 8):
        spec = JudgeSpec.model_validate(
            {"kind": "model", "model": MODEL | {"concurrency": at_once}}
        )
        with open_judgements(tmp_path / "r", "mine", judge="m", spec=spec) as file:
            assert isinstance(file, JudgementFile)


def test_two_processes_do_not_add_at_the_same_time(tmp_path: Path) -> None:
    with (
        open_judgements(tmp_path / "r", "mine", judge="rubric", spec=RUBRIC),
        pytest.raises(RunLockedError),
        open_judgements(tmp_path / "r", "mine", judge="rubric", spec=RUBRIC),
    ):
        pytest.fail("it was opened twice")


def test_an_unknown_name_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    written(tmp_path / "r", HIT)
    with pytest.raises(UsageError, match="no judgements 'yours': there are mine"):
        find_judgements(tmp_path / "r", "yours")
    with pytest.raises(UsageError, match="cannot call judgements"):
        judgements_path(tmp_path / "r", "../x")


def test_names_tell_the_judge_apart() -> None:
    votes = {"kind": "model", "model": MODEL, "protocol": "game", "votes": 3}
    assert default_name(RUBRIC) == "rubric"
    assert (
        default_name(JudgeSpec.model_validate(votes))
        == "openai-some-model-http-127.0.0.1-8000-v1-game-3"
    )


def test_trials_that_a_judge_did_not_judge_are_unfinished_and_never_missed(tmp_path: Path) -> None:
    path = written(tmp_path / "r", HIT, Verdict(valid=False))
    summaries = [
        TrialSummary(
            key=key(n),
            group="guilty",
            status="errored",
            error="boom",
            submission=None if n == 3 else Submission(verdict="none"),
        )
        for n in range(4)
    ]
    found = judged_by(summaries, read_judgements(path))
    assert [one.status for one in found] == ["scored", "invalid", "unfinished", "errored"]
    assert [one.error for one in found] == [None, None, None, "boom"]
