"""`auditor judge` and `auditor judge calibrate` on run folders."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from auditor.errors import OutageError, ProviderError, UsageError
from auditor.provider.clock import scaled_clock
from auditor.provider.factory import ProviderSettings
from auditor.provider.protocol import Completion, Provider, Request, TextBlock
from auditor.scenario.schema import LanguageModel, RunBudget
from tests.auditor.provider.servers import Fault, Loopback, Outage, Say

if TYPE_CHECKING:
    from conftest import Call, Made

TARGETS = ("guilty-1", "guilty-2", "guilty-3", "clean-1")
MODEL = ("--with", "scripted/grader.py:grade")


class Grader:
    """Lets a hypothesis match when a function says so; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.says: Callable[[int], Any] = lambda number: [1]
        """Matches for the n-th request, the whole text of an answer, or an error to raise."""
        self.dollars: float | None = 0.0

    name = "scripted/grade"

    def complete(self, request: Request) -> Completion:
        self.asked.append(request.system)
        said = self.says(len(self.asked))
        if isinstance(said, BaseException):
            raise said
        if isinstance(said, list):
            said = json.dumps({"reasoning": "so it is", "matches": said, "behaviours": []})
        content = (TextBlock(text=said),)
        return Completion(content=content, stop="end", dollars=self.dollars)


@pytest.fixture
def grader(monkeypatch: pytest.MonkeyPatch) -> Grader:
    """Stand in for every provider that a scenario or an option names."""
    one = Grader()

    def make(settings: ProviderSettings, spec: LanguageModel, role: str) -> Provider:
        assert role == "judge"
        if spec.key_env == "NO_SUCH_KEY":
            raise UsageError("anthropic needs a key: set NO_SUCH_KEY")
        return one

    monkeypatch.setattr(ProviderSettings, "make", make)
    return one


def said(run_dir: Path, name: str) -> list[dict[str, Any]]:
    path = run_dir / "judgements" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_run_is_judged_by_a_model_and_held_against_its_record(
    made: "Made", call: "Call", grader: Grader
) -> None:
    run_dir = made.run(targets=TARGETS)
    before = {path: path.read_bytes() for path in (run_dir / "trials").iterdir()}
    ended = call("judge", "tiny-1", *MODEL, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert (found["judged"], found["already"], found["failed"]) == (4, 0, {})
    assert found["comparison"]["top1"]["both"] == 3
    assert len(grader.asked) == 3, "nobody is asked about the clean target"
    header, *lines = said(run_dir, found["name"])
    assert header["spec"]["protocol"] == "strict"
    assert [line["verdict"]["top1"] for line in lines].count(True) == 3
    assert {path: path.read_bytes() for path in (run_dir / "trials").iterdir()} == before


def test_judging_again_asks_only_about_what_has_no_verdict(
    made: "Made", call: "Call", grader: Grader
) -> None:
    made.run(targets=TARGETS)
    grader.says = lambda number: "unreadable" if number <= 2 else [1]
    first = call("judge", "tiny-1", *MODEL, "--name", "mine", "--trials", "guilty-1*")
    assert first.code == 1
    assert "1 of which the judge gave no verdict" in first.err
    second = call("judge", "tiny-1", *MODEL, "--name", "mine", "--json")
    assert second.code == 0
    assert json.loads(second.out)["judged"] == 4
    asked = len(grader.asked)
    third = call("judge", "tiny-1", *MODEL, "--name", "mine", "--json")
    assert json.loads(third.out) | {"already": 4, "judged": 0} == json.loads(third.out)
    assert len(grader.asked) == asked


def test_trouble_with_the_provider_leaves_the_other_trials_judged(
    made: "Made", call: "Call", grader: Grader
) -> None:
    run_dir = made.run(targets=TARGETS)
    grader.says = lambda number: ProviderError("the line is dead; try again") if number == 2 else []
    ended = call("judge", "tiny-1", *MODEL, "--name", "mine")
    assert ended.code == 1
    assert "the line is dead; try again" in ended.err
    assert "1 failed" in ended.err
    assert len(said(run_dir, "mine")) == 1 + 3
    again = call("judge", "tiny-1", *MODEL, "--name", "mine", "--json")
    assert (again.code, json.loads(again.out)["judged"]) == (0, 1)


def test_an_outage_keeps_what_was_judged_and_says_how_to_go_on(
    made: "Made", call: "Call", grader: Grader
) -> None:
    run_dir = made.run(targets=TARGETS)
    grader.says = lambda number: OutageError("the court is closed") if number == 2 else [1]
    ended = call("judge", "tiny-1", *MODEL, "--name", "mine")
    assert ended.code == 3
    (line,) = ended.err.splitlines()
    assert line == (
        "stopped: the court is closed; what was judged is kept: repeat the command to go on"
    )
    assert len(said(run_dir, "mine")) >= 2
    again = call("judge", "tiny-1", *MODEL, "--name", "mine", "--json")
    assert (again.code, json.loads(again.out)["failed"]) == (0, {})
    assert len(said(run_dir, "mine")) == 1 + len(TARGETS)


GRADE = json.dumps({"reasoning": "so it is", "matches": [1], "behaviours": []})


@pytest.fixture
def court() -> Iterator[Loopback]:
    """A server of a judge that lets all hypotheses match."""
    with Loopback(lambda body: Say(text=GRADE)) as server, scaled_clock(0.001):
        yield server


def test_kept_replies_of_a_judge_are_not_asked_for_again(
    made: "Made", call: "Call", court: Loopback
) -> None:
    made.run(targets=TARGETS)
    words = ("judge", "tiny-1", "--with", court.openai())
    assert call(*words, "--name", "first", "--cache", "write").code == 0
    asked = len(court.bodies)
    assert asked == 3
    again = call(*words, "--name", "second", "--cache", "read", "--json")
    assert (again.code, json.loads(again.out)["judged"], len(court.bodies)) == (0, 4, asked)
    assert json.loads(again.out)["dollars"] == 0


def test_a_limit_in_dollars_stops_judging_and_a_higher_one_goes_on(
    made: "Made", call: "Call", court: Loopback
) -> None:
    run_dir = made.run(targets=TARGETS)
    words = ("judge", "tiny-1", "--with", court.anthropic(), "--name", "mine")
    # One question is bounded by some dimes, and costs less than a cent.
    low = call(*words, "--dollars", "0.01")
    assert low.code == 3
    assert "run_budget.dollars is 0.01, 0 is spent" in low.err
    assert "what was judged is kept" in low.err
    assert court.bodies == []
    high = call(*words, "--dollars", "50", "--json")
    assert (high.code, len(said(run_dir, "mine"))) == (0, 1 + len(TARGETS))
    assert (run_dir / "spending.db").is_file()


def test_the_limits_of_the_run_hold_for_its_judge(
    made: "Made", call: "Call", court: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = made.scenario(TARGETS)
    poor = plain.scenario.model_copy(update={"run_budget": RunBudget(dollars=0.01)})
    limited = plain.model_copy(update={"scenario": poor})
    monkeypatch.setattr(type(made), "scenario", lambda *_: limited)
    made.run(targets=TARGETS)
    words = ("judge", "tiny-1", "--name", "mine")
    assert call(*words, "--with", court.anthropic()).code == 3
    unpriced = call(*words, "--with", court.openai("unheard-of"))
    assert unpriced.code == 2
    assert "--dollars none" in unpriced.err
    assert court.bodies == []
    assert call(*words, "--with", court.anthropic(), "--dollars", "none").code == 0


def test_a_judge_whose_server_is_away_is_told_in_one_line(made: "Made", call: "Call") -> None:
    run_dir = made.run(targets=TARGETS)
    faults = Outage(Fault(kind="status", status=503), after=1)
    with Loopback(lambda body: Say(text=GRADE), faults=faults) as server, scaled_clock(0.001):
        words = ("judge", "tiny-1", "--with", server.openai(), "--name", "mine")
        ended = call(*words)
        assert ended.code == 3
        (line,) = ended.err.splitlines()
        assert "answered 503" in line
        faults.healed = True
        assert call(*words).code == 0
    assert len(said(run_dir, "mine")) == 1 + len(TARGETS)
    assert len(server.paid) == 3, "no question is asked twice"


def test_an_interrupt_keeps_what_was_judged_and_says_how_to_go_on(
    made: "Made", call: "Call", grader: Grader
) -> None:
    run_dir = made.run(targets=TARGETS)
    grader.says = lambda number: KeyboardInterrupt() if number == 3 else [1]
    ended = call("judge", "tiny-1", *MODEL, "--name", "mine")
    assert ended.code == 130
    assert "repeat the command to go on" in ended.err
    assert len(said(run_dir, "mine")) >= 3


def test_a_trial_that_is_not_finished_is_not_judged(
    made: "Made", call: "Call", grader: Grader
) -> None:
    made.run(
        targets=("guilty-1", "guilty-2"), events=lambda key, group: made.right(key, group)[:-1]
    )
    ended = call("judge", "tiny-1", *MODEL, "--json")
    assert json.loads(ended.out)["unsubmitted"] == 2
    assert not grader.asked


def test_what_judging_cost_is_told_and_unknown_prices_are(
    made: "Made", call: "Call", grader: Grader
) -> None:
    made.run(targets=TARGETS)
    grader.dollars = 0.25
    ended = call("judge", "tiny-1", *MODEL, "--name", "paid")
    assert "for $0.75" in ended.err
    grader.dollars = None
    ended = call("judge", "tiny-1", *MODEL, "--name", "unknown", "--json")
    assert json.loads(ended.out)["dollars"] is None


def test_the_table_can_be_that_of_another_judge(made: "Made", call: "Call", grader: Grader) -> None:
    made.run(targets=TARGETS)
    grader.says = lambda number: []
    chosen = ("--trials", "guilty-1__black_box__0,guilty-2*,clean*")
    call("judge", "tiny-1", *MODEL, "--name", "harsh", *chosen)
    record = json.loads(call("table", "tiny-1", "--json").out.splitlines()[0])
    harsh = json.loads(call("table", "tiny-1", "--json", "--judge", "harsh").out.splitlines()[0])
    assert (record["top1"], record["n_unfinished"]) == (1.0, 0)
    assert (harsh["top1"], harsh["n_unfinished"]) == (0.0, 1), "an unjudged trial is no miss"
    assert harsh["n_guilty"] == 2


def test_the_rubric_judges_again_without_a_model(made: "Made", call: "Call") -> None:
    run_dir = made.run(targets=TARGETS)
    ended = call("judge", "tiny-1")
    assert ended.code == 0, ended.err
    assert [line["verdict"]["top1"] for line in said(run_dir, "rubric")[1:4]] == [None, True, True]
    assert "the record (left) and rubric (right)" in ended.out


def test_a_trial_that_errored_after_its_submission_is_judged(
    made: "Made", call: "Call", grader: Grader
) -> None:
    def late(key: Any, group: Any) -> list[Any]:
        return [*made.right(key, group)[:-2], *made.errored(key, group)[1:]]

    run_dir = made.run(targets=("guilty-1", "guilty-2"), events=late)
    ended = call("judge", "tiny-1", *MODEL, "--name", "mine", "--json")
    assert json.loads(ended.out)["judged"] == 2
    assert said(run_dir, "mine")[1]["verdict"]["top1"] is True


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("nope",), "no run 'nope'"),
        (("tiny-1", "--with", "claude"), "no judge is called 'claude': write rubric"),
        (("tiny-1", "--votes", "3"), "the rubric asks no model"),
        (("tiny-1", "--with", "rubric", "--protocol", "game"), "the rubric asks no model"),
        (("tiny-1", *MODEL, "--protocol", "lenient"), "lenient"),
        (("tiny-1", *MODEL, "--votes", "0"), "greater than or equal"),
        (("tiny-1", *MODEL, "--dollars", "0"), "--dollars is '0': write a number above 0, or none"),
        (("tiny-1", *MODEL, "--dollars", "few"), "--dollars is 'few'"),
        (("tiny-1", *MODEL, "--trials", "nobody*"), "no trial of run tiny-1 fits 'nobody*'"),
        (("tiny-1", *MODEL, "--trials", "guilty-9"), "no trial 'guilty-9'"),
        (("tiny-1", *MODEL, "--name", "../x"), "cannot call judgements '../x'"),
        (("tiny-1", *MODEL, "--key-env", "NO_SUCH_KEY"), "set NO_SUCH_KEY"),
    ],
)
def test_misuse_is_answered_in_one_line_with_exit_code_2(
    made: "Made", call: "Call", grader: Grader, words: tuple[str, ...], what: str
) -> None:
    run_dir = made.run()
    ended = call("judge", *words)
    assert ended.code == 2
    assert what in ended.err
    assert "Traceback" not in ended.err
    assert not (run_dir / "judgements").exists()


def test_judgements_of_one_name_are_those_of_one_judge(
    made: "Made", call: "Call", grader: Grader
) -> None:
    made.run()
    call("judge", "tiny-1", *MODEL, "--name", "mine")
    other = call("judge", "tiny-1", *MODEL, "--name", "mine", "--protocol", "game")
    assert other.code == 2
    assert "choose another name with --name" in other.err
    unknown = call("table", "tiny-1", "--judge", "yours")
    assert unknown.code == 2
    assert "there are mine" in unknown.err


@pytest.fixture
def labels(tmp_path: Path) -> Callable[..., str]:
    def write(*rows: str, header: str = "trial,label") -> str:
        path = tmp_path / "labels.csv"
        path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
        return str(path)

    return write


def test_the_record_is_held_against_labels(
    made: "Made", call: "Call", labels: Callable[..., str]
) -> None:
    made.run(targets=(*TARGETS, "guilty-4"), events=made.right)
    rows = [f"tiny-1/guilty-{n}/black_box/0,{'miss' if n == 4 else 'hit'}" for n in range(1, 5)]
    ended = call("judge", "calibrate", "--labels", labels(*rows), "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert (found["judge"], found["field"], found["n_labelled"]) == ("record", "top1", 4)
    assert found["agreement"]["both"] == 3
    assert found["agreement"]["invented"] == 1.0
    assert found["agreement"]["kappa"] == 0.0
    assert found["scores"] is None, "a judge that always says the same has no rank correlation"


def test_judgements_are_held_against_labels_of_several_raters(
    made: "Made", call: "Call", grader: Grader, labels: Callable[..., str]
) -> None:
    made.run(targets=TARGETS)
    grader.says = lambda number: [1] if "1" in str(number % 2) else []
    call("judge", "tiny-1", *MODEL, "--name", "mine")
    rows = [
        f"tiny-1/guilty-{n}/black_box/0,{hit},{rater}"
        for rater, hits in (("ada", "hit hit miss"), ("bob", "hit miss miss"))
        for n, hit in enumerate(hits.split(), start=1)
    ]
    path = labels(*rows, header="trial,label,rater")
    ended = call("judge", "calibrate", "last", "--labels", path, "--judge", "mine", "--json")
    found = json.loads(ended.out)
    assert (found["n_labelled"], found["n_tied"], found["n_unjudged"]) == (3, 1, 0)
    assert found["agreement"]["n_trials"] == 2
    (pair,) = found["raters"]
    assert (pair["left"], pair["right"], pair["agreement"]["n_trials"]) == ("ada", "bob", 3)
    shown = call("judge", "calibrate", "--labels", path, "--judge", "mine")
    assert "ada and bob" in shown.out
    assert "1 tied among raters" in shown.out


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("tiny-1/guilty-1/black_box/7,hit", "has no trial guilty-1/black_box/7"),
        ("tiny-2/guilty-1/black_box/0,hit", "no run 'tiny-2'"),
        ("tiny-1/clean-1/black_box/0,hit", "its target is clean"),
        ("tiny-1/guilty-1/black_box/0,perhaps", "write hit or miss"),
    ],
)
def test_a_bad_label_is_reported_at_its_line(
    made: "Made", call: "Call", labels: Callable[..., str], row: str, what: str
) -> None:
    made.run()
    path = labels("tiny-1/guilty-1/black_box/0,hit", row)
    ended = call("judge", "calibrate", "--labels", path)
    assert ended.code == 2
    assert f"{path}:3:1: " in ended.err
    assert what in ended.err


def test_labels_of_another_run_than_the_named_one_are_reported(
    made: "Made", call: "Call", labels: Callable[..., str]
) -> None:
    made.run("tiny-1")
    made.run("tiny-2")
    path = labels("tiny-2/guilty-1/black_box/0,hit")
    ended = call("judge", "calibrate", "tiny-1", "--labels", path)
    assert ended.code == 2
    assert "the labels are to be of 'tiny-1'" in ended.err
    missing = call("judge", "calibrate", "--labels", f"{path}.none")
    assert (missing.code, "cannot be read" in missing.err) == (2, True)
