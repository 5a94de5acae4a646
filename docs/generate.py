"""Writes what in docs/ is made from code or from results; with `--check`, names what is stale.

A results file `docs/results/NAME.json` holds the lines of `auditor table RUN --json`; its table
stands in `docs/results.md` between the comments `<!-- NAME -->` and `<!-- /NAME -->`. Of large ones
stand only the rows of one split (`<!-- rows: NAME SPLIT -->`) and top-1 by regime in that split
(`<!-- regimes: NAME SPLIT -->`). `NAME-stats.json` holds the line of `auditor stats RUN --json`
(`<!-- stats: NAME-stats -->`; of its topics alone `<!-- contrasts: NAME-stats -->` and
`<!-- funnel: NAME-stats -->`), `NAME-heads.json` the lines of `auditor aggregate RUN --out`
(`<!-- heads: NAME-heads -->`). Where a file of these is not there yet, the page says so. Cards of
autoencoders lie in `docs/results/nla/`, that of the shipped pair beside it; their tables stand
between `<!-- cards: KIND NAME NAME ... -->` and `<!-- /cards -->`.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from auditor.cli.reference import cli_reference
from auditor.investigator.agent.reference import fill as fill_agents
from auditor.report.cards import (
    cards_markdown,
    claims_markdown,
    curve_markdown,
    rewrites_markdown,
)
from auditor.report.export.columns import reference as column_reference
from auditor.report.heads import HeadsCurve
from auditor.report.rows import ALL, Row
from auditor.report.sections import sections
from auditor.report.slices import heads_markdown, slice_markdown
from auditor.report.summary import RunStatistics
from auditor.report.summary_text import markdown as stats_markdown
from auditor.report.summary_text import section_markdown
from auditor.report.table import markdown
from auditor.scenario.reference import render as scenario_reference
from nla_core.card import Card
from tools.reference import render as tool_reference

DOCS = Path(__file__).parent
CARD_TABLES = {
    "figures": cards_markdown,
    "rewrites": rewrites_markdown,
    "claims": claims_markdown,
    "curve": curve_markdown,
}
_PARTS = (
    r"<!-- (rows|regimes|stats|contrasts|funnel|heads): ([\w-]+)(?: ([\w-]+))? -->.*?<!-- /\1 -->"
)
_CARDS = r"<!-- cards: (\w+) ([\w -]+?) -->.*?<!-- /cards -->"
PAGES = {
    "cli.md": cli_reference,
    "scenario.md": scenario_reference,
    "tools.md": tool_reference,
    "columns.md": column_reference,
}


def results_page(page: str) -> str:
    """Return the results page with every table rendered afresh from its JSON lines."""

    def table(match: re.Match[str]) -> str:
        lines = (DOCS / "results" / f"{match[1]}.json").read_text(encoding="utf-8").splitlines()
        rendered = markdown([Row.model_validate_json(line) for line in lines])
        return f"<!-- {match[1]} -->\n\n{rendered.strip()}\n\n<!-- /{match[1]} -->"

    page = re.sub(r"<!-- ([\w-]+) -->.*?<!-- /\1 -->", table, page, flags=re.DOTALL)
    page = re.sub(_PARTS, _part, page, flags=re.DOTALL)
    return re.sub(_CARDS, _card_table, page, flags=re.DOTALL)


def _part(match: re.Match[str]) -> str:
    kind, name, split = match[1], match[2], match[3]
    path = DOCS / "results" / f"{name}.json"
    shown = f"*Not measured yet: `docs/results/{path.name}` is not there.*"
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()
        shown = _PART_TABLES[kind](lines, split).strip()
    opening = f"<!-- {kind}: {name}{f' {split}' if split else ''} -->"
    return f"{opening}\n\n{shown}\n\n<!-- /{kind} -->"


def _rows(lines: list[str], split: str | None) -> str:
    rows = [Row.model_validate_json(line) for line in lines]
    return markdown([r for r in rows if r.split == (split or ALL) and r.regime == ALL])


def _regimes(lines: list[str], split: str | None) -> str:
    rows = [Row.model_validate_json(line) for line in lines]
    return slice_markdown([r for r in rows if r.split == (split or ALL)], "regime")


def _stats(lines: list[str], _: str | None) -> str:
    found = stats_markdown([RunStatistics.model_validate_json(line) for line in lines])
    # The page has headings of its own, one level higher.
    return re.sub(r"^##+ .*?\n+", "", re.sub(r"^### ", "#### ", found, flags=re.MULTILINE), count=1)


def _topic(title: str) -> Callable[[list[str], str | None], str]:
    def render(lines: list[str], _: str | None) -> str:
        found = sections([RunStatistics.model_validate_json(line) for line in lines])
        return "\n\n".join(section_markdown(one) for one in found if one.title.startswith(title))

    return render


def _heads(lines: list[str], _: str | None) -> str:
    return heads_markdown([HeadsCurve.model_validate_json(line) for line in lines])


_PART_TABLES: dict[str, Callable[[list[str], str | None], str]] = {
    "rows": _rows,
    "regimes": _regimes,
    "stats": _stats,
    "contrasts": _topic("Top-1 against one row"),
    "funnel": _topic("Funnel"),
    "heads": _heads,
}


def _card_table(match: re.Match[str]) -> str:
    names = match[2].split()
    rendered = CARD_TABLES[match[1]]([(name, _card(name)) for name in names])
    return f"<!-- cards: {match[1]} {match[2].strip()} -->\n\n{rendered}\n\n<!-- /cards -->"


def _card(name: str) -> Card:
    if name == "shipped":
        return Card.read(DOCS.parent / "scenarios" / "sandbox" / "weights" / "nla")
    path = DOCS / "results" / "nla" / f"{name}.json"
    return Card.model_validate_json(path.read_text(encoding="utf-8"))


def pages() -> Iterator[tuple[Path, str]]:
    """Yield every generated page with the text that it should have."""
    for name, render in PAGES.items():
        yield DOCS / name, render()
    results = DOCS / "results.md"
    yield results, results_page(results.read_text(encoding="utf-8"))
    agents = DOCS / "agents.md"
    yield agents, fill_agents(agents.read_text(encoding="utf-8"))


def main(*, check: bool) -> int:
    """Write all pages, or name the stale ones; returns the exit code."""
    stale = []
    for path, text in pages():
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
    if stale:
        print(f"out of date: {', '.join(stale)}; run `make docs`", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
