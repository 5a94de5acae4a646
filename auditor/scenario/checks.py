"""Checks that reach beyond single values: across targets, tool sets and files."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from auditor.errors import Mistake
from auditor.scenario.diagnose import Loc, nearest, shorten
from auditor.scenario.document import Document
from auditor.scenario.schema import TargetSpec, ToolSet, Truth

Preflight = Callable[..., list[str]]


class Placed(NamedTuple):
    """A target, and where the scenario names it."""

    spec: TargetSpec
    document: Document
    """The file in which the target is written: the scenario or a suite."""
    loc: Loc
    """Where in that file."""


def check_truth(document: Document, loc: Loc, truth: Truth) -> list[Mistake]:
    """A guilty target has a motive; a clean or decoy one has none."""
    place = (*loc, "truth")
    if truth.group == "guilty" and not truth.motive:
        what = "a guilty target needs a motive; add `motive: …`, or write another group"
        return [document.mistake(place, what)]
    if truth.group in ("clean", "decoy") and truth.motive:
        what = f"a {truth.group} target has no motive; delete `motive`, or write another group"
        return [document.mistake((*place, "motive"), what)]
    return []


def check_ids(targets: Iterable[Placed]) -> list[Mistake]:
    """Target ids are unique over the whole scenario, case aside, since they become file names."""
    first: dict[str, Placed] = {}
    mistakes = []
    for placed in targets:
        there = first.setdefault(placed.spec.id.casefold(), placed)
        if there is placed:
            continue
        line = there.document.place(there.loc)[0]
        where = f"line {line}" if there.document is placed.document else str(there.document.path)
        what = f"target id {placed.spec.id!r} occurs twice (first: {where}); give each its own id"
        loc = (*placed.loc, "id")
        mistakes.append(placed.document.mistake(loc, what))
    return mistakes


class Offer(NamedTuple):
    """What the scenario has for tools that need it."""

    corpus: bool
    without_baseline: str | None
    """Id of a target without a baseline, if there is one."""


def check_tool_sets(
    document: Document, tool_sets: dict[str, ToolSet], offer: Offer
) -> list[Mistake]:
    """Tools exist, and have what they need."""
    mistakes = []
    for name, tool_set in tool_sets.items():
        loc: Loc = ("tool_sets", name)
        if tool_set.policy == "agent" and not tool_set.tools:
            what = "a tool set for the agent needs tools; list some, or write `policy: static`"
            mistakes.append(document.mistake(loc, what, key=True))
        if tool_set.policy == "static" and tool_set.tools:
            what = "the static battery takes no tools; delete `tools`, or write `policy: agent`"
            mistakes.append(document.mistake((*loc, "tools"), what, key=True))
            continue
        for index, tool in enumerate(tool_set.tools):
            what = _tool_problem(tool, tool_set.tools[:index], offer)
            if what:
                mistakes.append(document.mistake((*loc, "tools", index), what))
    return mistakes


def _tool_problem(name: str, earlier: Sequence[str], offer: Offer) -> str:
    from tools.registry import UnknownToolError, find, registered

    if name in earlier:
        return f"tool {name!r} is listed twice; delete one"
    try:
        needs = find(name).needs
    except UnknownToolError:
        return f"no tool is called {shorten(name)}; {nearest(name, registered())}"
    if "baseline" in needs and offer.without_baseline is not None:
        who = f"tool {name!r} needs a baseline, and target {offer.without_baseline!r} has none"
        return f"{who}; add `baseline: {{path: …}}` to the scenario, or delete the tool"
    if "corpus" in needs and not offer.corpus:
        what = f"tool {name!r} needs a corpus, and the scenario has none"
        return f"{what}; add `corpus: {{path: …}}`, or delete the tool"
    return ""
