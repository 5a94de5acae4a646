"""`auditor resume` and `auditor fsck` on run folders made by hand."""

import json
from typing import TYPE_CHECKING

import pytest

from auditor.run.execute import RunLimitError, RunPlan
from auditor.run.index import reindex

if TYPE_CHECKING:
    from conftest import Call, Made


def unfinished(made: "Made") -> None:
    """Leave a run of which one trial has not begun."""
    run_dir = made.run()
    (run_dir / "trials" / "clean-1__black_box__0.jsonl").unlink()
    reindex(made.runs_dir)


def test_resuming_a_finished_run_prints_its_table(call: "Call", made: "Made") -> None:
    run_dir = made.run()
    before = {path: path.read_bytes() for path in (run_dir / "trials").iterdir()}
    ended = call("resume", "last")
    assert ended.code == 0
    assert "black_box" in ended.out
    assert "2 of them already finished" in ended.err
    assert {path: path.read_bytes() for path in before} == before
    lines = [json.loads(line) for line in call("resume", "tiny-1", "--json").out.splitlines()]
    assert [line["event"] for line in lines][:1] == ["launch"]
    assert lines[-1]["counts"] == {"scored": 2}


def test_resuming_without_the_weights_is_one_line_for_each(call: "Call", made: "Made") -> None:
    unfinished(made)
    ended = call("resume", "tiny-1")
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("run 'tiny-1' cannot go on: ")
    assert "/nowhere" in line


def test_resuming_an_unknown_run_suggests_one(call: "Call", made: "Made") -> None:
    made.run()
    ended = call("resume", "tiny-2")
    assert ended.code == 2
    assert "did you mean tiny-1?" in ended.err


def test_a_limit_of_the_run_exits_with_3_and_says_how_to_go_on(
    call: "Call", made: "Made", monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(made)

    def stop(run_dir: object, **_: object) -> None:
        what = RunPlan(
            run="tiny-1", run_dir=made.runs_dir / "tiny-1", trials=(), todo=(), workers=1
        )
        raise RunLimitError(what, finished=0, why="5 dollars are spent")

    monkeypatch.setattr("auditor.run.resume.resume_run", stop)
    ended = call("resume", "tiny-1", "--workers", "3")
    assert ended.code == 3
    assert ended.err.strip() == (
        "stopped after 0 of 0 trials: 5 dollars are spent; raise it, then continue with: "
        "auditor run /nowhere/tiny.yaml --run tiny-1"
    )


def test_fsck_of_a_whole_run_exits_with_0(call: "Call", made: "Made") -> None:
    made.run()
    reindex(made.runs_dir)
    ended = call("fsck", "tiny-1")
    assert ended.code == 0
    assert ended.out.splitlines() == ["run tiny-1: trials: 2 whole", "whole"]


def test_fsck_names_what_is_not_whole_and_exits_with_1(call: "Call", made: "Made") -> None:
    unfinished(made)
    ended = call("fsck", "tiny-1")
    assert ended.code == 1
    assert ended.out.splitlines() == [
        "run tiny-1: trials: 1 missing, 1 whole",
        "missing: trials/clean-1__black_box__0.jsonl: the trial has not begun: "
        "`auditor resume tiny-1`",
    ]
    found = json.loads(call("fsck", "tiny-1", "--json").out)
    assert found["whole"] is False
    assert found["trials"] == {"missing": 1, "whole": 1}
    assert [one["state"] for one in found["findings"]] == ["missing"]


def test_fsck_examines_a_run_that_has_lost_its_record(call: "Call", made: "Made") -> None:
    (made.run() / "run.json").unlink()
    ended = call("fsck", "tiny-1")
    assert ended.code == 1
    assert "missing: run.json" in ended.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "tiny", "--trials", "0"), "Invalid value for '--trials'"),
        (("run",), "Missing argument 'scenario'"),
        (("run", "tiny", "--trails", "1"), "No such option: --trails (Possible options: --trials)"),
        (("rum",), "No such command 'rum'"),
        (("nla", "nothing"), "No such command 'nothing'"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    call: "Call", words: tuple[str, ...], said: str
) -> None:
    ended = call(*words)
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert line.startswith(said)
    assert line.endswith("--help`")
