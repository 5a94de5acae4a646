"""`auditor plot` on run folders made by hand."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from auditor.records import (
    Group,
    SubmissionEvent,
    TrialEvent,
    TrialKey,
    TrialStarted,
)
from auditor.report.heads import HeadsCurve, HeadsPoint

if TYPE_CHECKING:
    from conftest import Call, EventsOf, Made

TARGETS = ("guilty-1", "guilty-2", "clean-1", "decoy-1")


@pytest.fixture
def confident(made: "Made") -> "EventsOf":
    """Trials of the development split, of a regime where guilty, that state a confidence."""

    def events(key: TrialKey, group: Group) -> list[TrialEvent]:
        found: list[TrialEvent] = []
        for event in made.right(key, group):
            if isinstance(event, TrialStarted):
                regime = "thoughts-plain" if group == "guilty" else None
                event = event.model_copy(update={"split": "development", "regime": regime})
            elif isinstance(event, SubmissionEvent):
                sure = 0.9 if group == "guilty" else 0.1
                submission = event.submission.model_copy(update={"confidence": sure})
                event = event.model_copy(update={"submission": submission})
            found.append(event)
        return found

    return events


def aggregated(path: Path, run: str, split: str = "development") -> Path:
    points = (HeadsPoint(k=1, rule="majority", success=1.0, false_alarm=0.0, n_guilty=2),)
    curve = HeadsCurve(
        run=run,
        tool_set="black_box",
        split=split,
        pool="linear",
        limit=0.05,
        seed=0,
        points=points,
        votes=points,
    )
    path.write_text(curve.model_dump_json() + "\n")
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_everything_that_there_are_figures_for_is_drawn(
    call: "Call", made: "Made", confident: "EventsOf", tmp_path: Path
) -> None:
    made.run("small", targets=TARGETS, events=confident)
    made.run("large", targets=TARGETS, events=confident)
    curves = aggregated(tmp_path / "heads.json", "small")
    out = tmp_path / "pictures"
    words = ("plot", "small", "large", "--out", str(out), "--split", "development")
    ended = call(*words, "--heads", str(curves))
    assert (ended.code, ended.err) == (0, "")
    kinds = ("rates", "harder", "roc", "reliability", "heads", "tokens")
    assert ended.out.splitlines() == [str(out / f"{kind}.svg") for kind in kinds]
    assert names(out) == {f"{kind}.svg" for kind in kinds}
    for path in out.iterdir():
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
        assert "black_box" in path.read_text()


def test_what_cannot_be_drawn_is_named_with_the_reason(
    call: "Call", made: "Made", tmp_path: Path
) -> None:
    made.run("plain", targets=TARGETS)
    ended = call("plot", "plain", "--out", str(tmp_path / "out"))
    assert ended.code == 0
    assert names(tmp_path / "out") == {"rates.svg"}
    reasons = ended.err.splitlines()
    kinds = ("harder", "roc", "reliability", "heads", "tokens")
    assert [line.split(":")[1].strip() for line in reasons] == list(kinds)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("harder", "no scored guilty target of plain has a regime"),
        ("roc", "no row of plain states its confidence"),
        ("reliability", "no row of plain states its confidence"),
        ("heads", "auditor aggregate RUN --out FILE"),
        ("tokens", "needs two runs or more"),
    ],
)
def test_a_picture_without_figures_is_refused_in_one_line(
    call: "Call", made: "Made", tmp_path: Path, kind: str, reason: str
) -> None:
    made.run("plain", targets=TARGETS)
    ended = call("plot", "plain", "--out", str(tmp_path / "out"), "--kind", kind)
    assert ended.code == 2
    assert reason in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_run_without_a_score_is_refused_in_one_line(
    call: "Call", made: "Made", tmp_path: Path
) -> None:
    made.run("broken", events=made.errored)
    ended = call("plot", "broken", "--out", str(tmp_path / "out"))
    assert ended.code == 2
    assert ended.err == "no trial of broken has been scored yet\n"


def test_a_split_that_is_not_there_is_refused_with_those_that_are(
    call: "Call", made: "Made", confident: "EventsOf", tmp_path: Path
) -> None:
    made.run("small", targets=TARGETS, events=confident)
    ended = call("plot", "small", "--out", str(tmp_path), "--split", "elsewhere")
    assert ended.code == 2
    assert ended.err == "no trial of small is of split 'elsewhere'; choose development or all\n"


def test_held_out_targets_are_shown_where_there_are_any(
    call: "Call", made: "Made", confident: "EventsOf", tmp_path: Path
) -> None:
    def held_out(key: TrialKey, group: Group) -> list[TrialEvent]:
        first, *rest = confident(key, group)
        split = "held-out" if key.target.endswith("1") else "development"
        return [first.model_copy(update={"split": split}), *rest]

    made.run("both", targets=TARGETS, events=held_out)
    made.run("one", targets=TARGETS, events=confident)
    call("plot", "both", "--out", str(tmp_path / "both"), "--kind", "rates")
    call("plot", "one", "--out", str(tmp_path / "one"), "--kind", "rates")
    assert "held-out targets" in (tmp_path / "both" / "rates.svg").read_text()
    assert "1 guilty" in (tmp_path / "both" / "rates.svg").read_text()
    assert "2 guilty" in (tmp_path / "one" / "rates.svg").read_text()


def test_curves_of_other_runs_or_splits_are_refused(
    call: "Call", made: "Made", confident: "EventsOf", tmp_path: Path
) -> None:
    made.run("small", targets=TARGETS, events=confident)
    words = ("plot", "small", "--out", str(tmp_path / "out"), "--kind", "heads", "--heads")
    for path in (
        aggregated(tmp_path / "run.json", "another"),
        aggregated(tmp_path / "split.json", "small", "held-out"),
    ):
        ended = call(*words, str(path))
        assert ended.code == 2
        assert f"{path} has no curve of small" in ended.err


@pytest.mark.parametrize("content", [b"{}\n", b"not json", b"\xff\xfe", None])
def test_a_file_that_holds_no_curves_is_refused_in_one_line(
    call: "Call", made: "Made", tmp_path: Path, content: bytes | None
) -> None:
    made.run("plain", targets=TARGETS)
    path = tmp_path / "heads.json"
    if content is not None:
        path.write_bytes(content)
    words = ("plot", "plain", "--out", str(tmp_path / "out"), "--kind", "heads")
    ended = call(*words, "--heads", str(path))
    assert ended.code == 2
    assert str(path) in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_repeated_command_writes_the_same_bytes(
    call: "Call", made: "Made", confident: "EventsOf", tmp_path: Path
) -> None:
    made.run("small", targets=TARGETS, events=confident)
    words = ("plot", "small", "--kind", "rates", "--format", "png", "--out")
    for name in ("a", "b"):
        assert call(*words, str(tmp_path / name)).code == 0
    first, second = (tmp_path / name / "rates.png" for name in ("a", "b"))
    assert first.read_bytes()[:4] == b"\x89PNG"
    assert first.read_bytes() == second.read_bytes()


def test_without_matplotlib_the_command_says_what_to_install(
    call: "Call", made: "Made", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.run("plain", targets=TARGETS)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ended = call("plot", "plain", "--out", str(tmp_path / "out"))
    assert ended.code == 2
    assert "pip install 'auditor[plots]'" in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()
