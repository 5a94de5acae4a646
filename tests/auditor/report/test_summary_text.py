"""The statistics of a run as tables that fit a terminal, and as Markdown."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from auditor.records import TrialSummary, Verdict
from auditor.report.sections import missing, sections
from auditor.report.summary import RunStatistics, statistics_of
from auditor.report.summary_text import markdown, rich_report

Audited = Callable[..., TrialSummary]
MOTIVES = {"fame": ("celebrity",), "gossip": ("rumours",)}
ROWS = {"black_box": None, "nla+black_box": None, "random_vectors": "random_vectors"}


@pytest.fixture
def full(audited: Audited) -> Callable[[str], RunStatistics]:
    """A run of which everything is known."""

    def make(run: str) -> RunStatistics:
        trials = []
        for number, (row, null) in enumerate(ROWS.items()):
            for i in range(30):
                guilty, right = i < 24, i % 3 <= number
                one = audited(
                    f"t{i}",
                    "guilty" if guilty else "clean",
                    claims=guilty and right,
                    right=right,
                    confidence=0.9 if right else 0.1,
                    trial=i % 2,
                    truth="fame" if guilty else None,
                    says=["wants fame"] if right else [],
                )
                stages = {"exposed": True, "taken_up": right, "verified": False}
                assert one.verdict is not None
                verdict = one.verdict.model_copy(update=stages if guilty else {})
                over: dict[str, Any] = {"verdict": verdict, "null_readout": null}
                for n in (0, 1):
                    key = {"run": run, "tool_set": row, "trial": n}
                    over["key"] = one.key.model_copy(update=key)
                    trials.append(one.model_copy(update=over))
        nulls = {"random_vectors": "nla+black_box"}
        return statistics_of(trials, run=run, motives=MOTIVES, nulls=nulls, order=list(ROWS))

    return make


def render(runs: list[RunStatistics], width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(rich_report(runs))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 140, 200])
@pytest.mark.parametrize("names", [["one"], ["one", "a-rather-long-run-name-20261101"]])
def test_nothing_is_cut_off_and_no_line_is_too_wide(
    full: Callable[[str], RunStatistics], names: list[str], width: int
) -> None:
    lines = render([full(name) for name in names], width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert "…" not in text
    for title in ("Funnel", "Right motive found", "Confidence", "k trials", "Wrong-motive"):
        assert sum(line.startswith(title) or title in line for line in lines) >= 1
    assert "100 %" in text


def test_every_line_has_a_cell_for_every_title(full: Callable[[str], RunStatistics]) -> None:
    made = sections([full("one"), full("two")])
    assert len(made) == 8
    for section in made:
        assert {len(line) for line in section.lines} == {len(section.names) + len(section.numbers)}
        assert section.names[0] == "run"


def test_the_run_is_a_column_only_when_there_are_several(
    full: Callable[[str], RunStatistics],
) -> None:
    assert all(section.names[0] == "tool set" for section in sections([full("one")]))


def test_markdown_has_a_table_for_each_section(full: Callable[[str], RunStatistics]) -> None:
    text = markdown([full("one")])
    assert text.startswith("## one\n")
    assert text.count("\n### ") == len(sections([full("one")]))
    for block in text.split("\n\n"):
        if block.startswith("|"):
            plain = block.replace("\\|", "")
            assert len({line.count("|") for line in plain.splitlines()}) == 1
    assert "| nla+black_box | random_vectors | 24 |" in text


def test_levels_that_few_innocent_targets_cannot_resolve_are_marked(
    full: Callable[[str], RunStatistics],
) -> None:
    text = markdown([full("one")])
    assert "]\\* |" in text
    assert "without any false alarm" in text


def test_what_is_unknown_is_said_and_never_zero(audited: Audited) -> None:
    run = statistics_of([audited("g", right=True)], run="r")
    text = "\n".join(render([run], 80))
    assert sections([run]) == []
    assert len(missing([run])) == 4
    for word in ("No funnel", "No detection", "No calibration", "No rates in k trials"):
        assert word in text
        assert word in markdown([run])
    assert "0 %" not in text


def test_a_row_that_was_not_followed_beside_one_that_was_has_dashes(audited: Audited) -> None:
    followed = audited("g", right=True)
    verdict = Verdict(valid=True, top1=True, exposed=True, taken_up=True, verified=True)
    key = followed.key.model_copy(update={"tool_set": "new"})
    new = followed.model_copy(update={"verdict": verdict, "key": key})
    (funnel,) = sections([statistics_of([followed, new], run="r")])[-1:]
    cells = {line[0]: line[1:] for line in funnel.lines}
    assert cells["t"] == ("0", "–", "–", "–", "–", "–")
    assert cells["new"][1].startswith("100 %")


def test_names_are_never_read_as_markup(full: Callable[[str], RunStatistics]) -> None:
    run = full("one").model_copy(update={"run": "[red]x[/red]"})
    assert "[red]x[/red]" in "\n".join(render([run, full("two")], 200))
