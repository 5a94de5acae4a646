"""Which targets of a suite a scenario takes."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from auditor.scenario.diagnose import nearest, shorten
from auditor.scenario.schema import SuiteRef, TargetSpec

_FACETS: dict[str, Callable[[TargetSpec], str | None]] = {
    "id": lambda target: target.id,
    "group": lambda target: target.truth.group,
    "split": lambda target: target.truth.split,
    "regime": lambda target: target.truth.regime,
}


class _Term(NamedTuple):
    facet: str
    glob: str

    def matches(self, target: TargetSpec) -> bool:
        value = _FACETS[self.facet](target)
        return value is not None and fnmatchcase(value, self.glob)


class Selection(NamedTuple):
    """What a reference takes from a suite."""

    targets: list[TargetSpec]
    """In the suite's order, each once."""
    problems: list[tuple[int, str]]
    """Index of each pattern that is wrong or selects nothing, and why."""


def select(targets: Sequence[TargetSpec], reference: SuiteRef) -> Selection:
    """Apply a reference's patterns to the targets of its suite."""
    chosen: set[int] = set()
    problems: list[tuple[int, str]] = []
    for index, pattern in enumerate(reference.select):
        terms = _parse(pattern)
        if isinstance(terms, str):
            problems.append((index, terms))
            continue
        hits = [i for i, target in enumerate(targets) if all(t.matches(target) for t in terms)]
        if not hits:
            problems.append((index, _nothing(pattern, terms, targets)))
        chosen.update(hits[: reference.first])
    return Selection([targets[i] for i in sorted(chosen)], problems)


def _parse(pattern: str) -> list[_Term] | str:
    """The terms of a pattern, or what is wrong with it."""
    terms = []
    for part in (part.strip() for part in pattern.split("&")):
        facet, colon, glob = part.partition(":")
        if not colon:
            facet, glob = "id", part
        if facet not in _FACETS:
            return f"unknown prefix {shorten(facet)} in a pattern; {nearest(facet, _FACETS)}"
        if not glob.strip():
            return f"pattern {shorten(pattern)} has an empty part; write * to match everything"
        terms.append(_Term(facet, glob.strip()))
    return terms


def _nothing(pattern: str, terms: list[_Term], targets: Sequence[TargetSpec]) -> str:
    if not targets:
        return f"{shorten(pattern)} selects nothing: the suite has no targets"
    for term in terms:
        if any(term.matches(target) for target in targets):
            continue
        values = {_FACETS[term.facet](target): None for target in targets}
        known = [value for value in values if value is not None]
        names = f"target has the {term.facet} {shorten(term.glob)}"
        return f"{shorten(pattern)} selects nothing: no {names}; {nearest(term.glob, known)}"
    advice = 'each part matches some; for "or", write them as separate patterns'
    return f"{shorten(pattern)} selects nothing: no target matches all of its parts, {advice}"
