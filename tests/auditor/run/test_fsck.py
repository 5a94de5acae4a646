"""What `fsck` says of run folders that something happened to."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.run.execute import Hooks, RunInterruptedError, RunOptions, execute
from auditor.run.fsck import Finding, fsck
from auditor.run.lock import locked
from auditor.run.resume import resume_run
from auditor.scenario.schema import ResolvedScenario

Make = Callable[..., ResolvedScenario]
FIRST = "trials/clean-1__static__0.jsonl"


@pytest.fixture
def run_dir(resolved: ResolvedScenario, make_pool: Callable, tmp_path: Path) -> Path:
    """A finished run of six trials."""
    options = RunOptions(runs_dir=tmp_path / "runs", run="r", workers=1)
    return execute(resolved, options, pool=make_pool()).run_dir


@pytest.fixture
def stopped(resolved: ResolvedScenario, make_pool: Callable, tmp_path: Path) -> Path:
    """A run that was stopped in its third trial."""
    sealed: list[object] = []

    def stop(key: object, event: object) -> None:
        sealed.extend([event] if event.type == "sealed" else [])  # type: ignore[attr-defined]
        if len(sealed) == 2 and event.type == "tool_result":  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    options = RunOptions(runs_dir=tmp_path / "runs", run="r", workers=1)
    with pytest.raises(RunInterruptedError):
        execute(resolved, options, pool=make_pool(), on_event=stop)
    return options.runs_dir / "r"


def snapshot(run_dir: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in run_dir.parent.rglob("*") if p.is_file()}


def the_finding(run_dir: Path) -> Finding:
    before = snapshot(run_dir)
    report = fsck(run_dir)
    assert snapshot(run_dir) == before
    assert not report.whole
    (finding,) = report.findings
    return finding


def test_a_finished_run_is_whole(run_dir: Path) -> None:
    before = snapshot(run_dir)
    report = fsck(run_dir)
    assert (report.whole, report.findings, report.writer) == (True, (), None)
    assert report.trials == {"whole": 6}
    assert snapshot(run_dir) == before


def test_a_stopped_run_says_what_is_left_to_do(stopped: Path, make_pool: Callable) -> None:
    report = fsck(stopped)
    assert report.trials == {"whole": 2, "unfinished": 1, "missing": 3}
    (unfinished,) = [one for one in report.findings if one.state == "unfinished"]
    assert unfinished.todo == "`auditor resume r` goes on with it"
    shutil.rmtree(stopped / "checkpoints")
    (unfinished,) = [one for one in fsck(stopped).findings if one.state == "unfinished"]
    assert unfinished.todo == "`auditor resume r` begins it anew"
    resume_run(stopped, workers=1, hooks=Hooks(pool=make_pool()))
    assert fsck(stopped).whole


def test_a_damaged_checkpoint_is_named(stopped: Path) -> None:
    (path,) = (stopped / "checkpoints").glob("*.db")
    path.write_bytes(b"\xa5" * 9000)
    (finding,) = [one for one in fsck(stopped).findings if one.path.startswith("checkpoints")]
    assert finding.state == "damaged"
    assert "begins the trial anew" in finding.todo


def test_a_torn_line_is_told_from_a_damaged_one(run_dir: Path, make_pool: Callable) -> None:
    path = run_dir / FIRST
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    torn = [one for one in fsck(run_dir).findings if one.path == FIRST]
    assert [one.state for one in torn] == ["torn"]
    path.write_bytes(whole.replace(b'"thought"', b'"thouhgt"', 1))
    finding = the_finding(run_dir)
    assert (finding.path, finding.state) == (FIRST, "damaged")
    assert finding.what.startswith("line 2: ")
    assert "move it away" in finding.todo
    path.unlink()
    resume_run(run_dir, workers=1, hooks=Hooks(pool=make_pool()))
    assert fsck(run_dir).whole


def without(content: bytes, kind: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    lines.remove(next(line for line in lines if b'"type":"%s"' % kind in line))
    return b"".join(lines)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: without(content, b"tool_result"), "results are missing"),
        (lambda content: without(content, b"tool_call"), "calls or results are missing"),
        (lambda content: without(content, b"started"), "does not begin with the start"),
        (lambda content: content + content.splitlines(keepends=True)[-1], "after its seal"),
        (
            lambda content: content.replace(b'"target":"clean-1"', b'"target":"x"'),
            "holds trial r/x",
        ),
    ],
)
def test_whole_lines_that_do_not_make_a_trial_are_damage(
    run_dir: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    path = run_dir / FIRST
    path.write_bytes(change(path.read_bytes()))
    finding = the_finding(run_dir)
    assert (finding.path, finding.state) == (FIRST, "damaged")
    assert said in finding.what


def test_files_that_do_not_belong_to_the_run_are_foreign(run_dir: Path) -> None:
    (run_dir / "trials" / "notes.txt").write_text("mine")
    shutil.copy(run_dir / FIRST, run_dir / "trials" / "nobody__static__0.jsonl")
    (run_dir / "checkpoints").mkdir()
    (run_dir / "checkpoints" / "stranger.db").write_text("")
    found = {one.path: one.state for one in fsck(run_dir).findings}
    assert found == {
        "trials/notes.txt": "foreign",
        "trials/nobody__static__0.jsonl": "foreign",
        "checkpoints/stranger.db": "foreign",
    }


def test_what_a_stopped_write_left_is_named(run_dir: Path) -> None:
    (run_dir / ".run.json.1234").write_text("{")
    assert (the_finding(run_dir).path, the_finding(run_dir).state) == (".run.json.1234", "leftover")


def test_a_missing_trial_is_named(run_dir: Path) -> None:
    (run_dir / FIRST).unlink()
    found = {one.path: (one.state, one.todo) for one in fsck(run_dir).findings}
    assert found.pop(FIRST) == ("missing", "`auditor resume r`")
    assert found["../auditor.db"][0] == "behind"


@pytest.mark.parametrize(("content", "state"), [(None, "missing"), (b"{", "damaged")])
def test_without_its_record_a_run_is_examined_as_far_as_can_be(
    run_dir: Path, content: bytes | None, state: str
) -> None:
    (run_dir / "run.json").unlink()
    if content is not None:
        (run_dir / "run.json").write_bytes(content)
    finding = the_finding(run_dir)
    assert (finding.path, finding.state) == ("run.json", state)
    assert fsck(run_dir).trials == {"whole": 6}


@pytest.mark.parametrize("content", [None, b"nonsense" * 1000])
def test_an_index_that_is_missing_or_damaged_is_behind(
    run_dir: Path, content: bytes | None
) -> None:
    path = run_dir.parent / "auditor.db"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    finding = the_finding(run_dir)
    assert (finding.path, finding.state, finding.todo) == (
        "../auditor.db",
        "behind",
        "auditor reindex",
    )


def test_a_run_that_is_being_written_says_by_whom(run_dir: Path) -> None:
    with locked(run_dir / "lock"):
        assert "process" in (fsck(run_dir).writer or "")
    assert fsck(run_dir).writer is None
