"""Readers of a scenario: where their files are, who reads with them, and what takes their place."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from auditor.errors import Mistake
from auditor.scenario.diagnose import Loc, nearest, shorten
from auditor.scenario.document import Document
from auditor.scenario.models import locate_reader
from auditor.scenario.schema import Model, ReaderSpec, ServedModel, TargetSpec, ToolSet
from auditor.scenario.validate import salvage

_BLOCK = "`readers: {NAME: {av: …, ar: …}}`"


class ReaderShelf(NamedTuple):
    """The readers that a scenario declares."""

    readers: dict[str, ReaderSpec]
    """Those whose values are sound, by name; paths absolute or hub ids."""
    names: tuple[str, ...]
    """All names, those of faulty ones among them."""
    mistakes: list[Mistake]


def open_readers(document: Document, folder: Path) -> ReaderShelf:
    """Make the paths of all readers absolute and inspect their files.

    Args:
        document: The scenario.
        folder: Where its relative paths start.
    """
    written = document.data.get("readers")
    shelf = ReaderShelf({}, tuple(written) if isinstance(written, dict) else (), [])
    for name in shelf.names:
        loc: Loc = ("readers", name)
        problem = _form_problem(written[name])
        if problem:
            shelf.mistakes.append(document.mistake(loc, problem, key=True))
            continue
        spec = salvage(ReaderSpec, written[name])
        if spec is None:
            continue
        located = locate_reader(spec, folder)
        problems = located.problems or _preflight(located.reader)
        for part, what in problems:
            shelf.mistakes.append(document.mistake((*loc, *part), what, key=not part))
        if not problems:
            shelf.readers[name] = located.reader
    return shelf


def _preflight(reader: ReaderSpec) -> list[tuple[tuple[str, ...], str]]:
    from auditor.target.reader_preflight import preflight_reader

    return [(flaw.loc, flaw.what) for flaw in preflight_reader(reader)]


def _form_problem(data: Any) -> str:
    """Say whether a reader names one pair or several, as it stands in the file."""
    if not isinstance(data, dict):
        return ""
    given = {key for key in ("av", "ar", "pairs") if data.get(key) not in (None, {})}
    if given == {"pairs"} and data.get("servers") is not None:
        return "each server runs one verbalizer; move `servers` into the pair that they run"
    if given in ({"av", "ar"}, {"pairs"}):
        return ""
    if "pairs" in given:
        return "a reader has `av` and `ar`, or `pairs` by layer; delete one of the two"
    if not given:
        return "a reader needs a pair; add `av: …` and `ar: …`, or `pairs: {LAYER: {av: …, ar: …}}`"
    return f"a reader needs both of a pair; add `{({'av', 'ar'} - given).pop()}: …`"


def check_fit(
    document: Document, readers: Mapping[str, ReaderSpec], targets: Iterable[TargetSpec]
) -> list[Mistake]:
    """Every reader can read every target and baseline."""
    from auditor.target.reader_preflight import reader_misfit

    known, mistakes = list(targets), []
    for name, reader in readers.items():
        what = first_misfit(known, partial(reader_misfit, reader))
        if what:
            problem = f"{what}; name a pair that was made for that model"
            mistakes.append(document.mistake(("readers", name), problem, key=True))
    return mistakes


def first_misfit(
    targets: Iterable[TargetSpec], misfit: Callable[[Model], str | None]
) -> str | None:
    """Say which target or baseline something does not fit first, and why; None when it fits all."""
    models: dict[Model, list[str]] = {}
    for target in targets:
        for model in (target.model, target.baseline):
            if isinstance(model, Model):
                bare = Model(path=model.path, revision=model.revision)
                models.setdefault(bare, []).append(target.id)
    for model, ids in models.items():
        what = misfit(model)
        if what:
            return f"does not fit {_listed(ids)}: {what}"
    return None


def _listed(ids: Sequence[str]) -> str:
    ids = list(dict.fromkeys(ids))
    more = f" (and {len(ids) - 1} more targets)" if len(ids) > 1 else ""
    return f"target {ids[0]!r}{more}"


def reads(tool_set: ToolSet) -> bool | None:
    """Whether a tool of the set needs a reader; None when some tool is not known."""
    return needs(tool_set, "reader")


def needs(tool_set: ToolSet, what: str) -> bool | None:
    """Whether a tool of the set has this need; None when some tool is not known."""
    from tools.files import ToolFileError
    from tools.registry import UnknownToolError, find

    unknown = False
    for name in tool_set.tools if tool_set.policy == "agent" else ():
        try:
            if what in find(name).needs:
                return True
        except (UnknownToolError, ToolFileError):
            unknown = True
    return None if unknown else False


def _seer(tool_set: ToolSet) -> str | None:
    """Return the first tool of a set that sees activations without a null in between, if any."""
    for name in tool_set.tools:
        alone = tool_set.model_copy(update={"tools": (name,)})
        if needs(alone, "activations") and not nullable(alone):
            return name
    return None


def asks(tool_set: ToolSet) -> bool | None:
    """Whether a tool of the set needs an oracle; None when some tool is not known."""
    return needs(tool_set, "oracle")


def nullable(tool_set: ToolSet) -> bool | None:
    """Whether a null can take the place of what a set reads with; None: some tool is not known."""
    both = (reads(tool_set), asks(tool_set))
    return True if True in both else None if None in both else False


def check_choice(
    document: Document, loc: Loc, tool_set: ToolSet, names: Sequence[str]
) -> list[Mistake]:
    """A tool set names a reader that there is, and only when its tools need one.

    Args:
        document: The scenario.
        loc: Where the tool set stands in it.
        tool_set: The tool set.
        names: All readers of the scenario.
    """
    needed = reads(tool_set)
    mistakes = []
    if tool_set.reader is not None:
        place = (*loc, "reader")
        # That there is no reader at all is said at the tools that need one.
        if tool_set.reader not in names and (names or not needed):
            hint = nearest(tool_set.reader, names) if names else f"there are none; add {_BLOCK}"
            what = f"no reader is called {shorten(tool_set.reader)}; {hint}"
            mistakes.append(document.mistake(place, what))
        elif needed is False:
            what = "no tool of this set needs a reader; delete `reader`, or add such a tool"
            mistakes.append(document.mistake(place, what, key=True))
    elif needed and len(names) > 1:
        what = f"its tools need a reader, and there are {', '.join(names)}; add `reader: …`"
        mistakes.append(document.mistake(loc, what, key=True))
    if tool_set.null_readout is not None and nullable(tool_set) is False:
        what = (
            "a null readout takes a reader's or an oracle's place, and no tool of this set needs "
            "one; delete it"
        )
        mistakes.append(document.mistake((*loc, "null_readout"), what, key=True))
    elif tool_set.null_readout in ("random_vectors", "text_only") and (seer := _seer(tool_set)):
        what = (
            f"{tool_set.null_readout} takes the reader's place alone, and the tool {seer!r} would "
            "see the true activations; write placebo or shuffled, or delete that tool"
        )
        mistakes.append(document.mistake((*loc, "null_readout"), what, key=True))
    return mistakes


def no_reader(tool: str) -> str:
    """What is wrong when a scenario has no reader at all for a tool."""
    return f"tool {tool!r} needs a reader, and the scenario has none; add {_BLOCK}, or delete it"


def readers_of_rows(
    tool_sets: Mapping[str, ToolSet], readers: Mapping[str, ReaderSpec]
) -> dict[str, ReaderSpec]:
    """Return what each tool set that needs a reader reads with, by the tool set's name."""
    return {
        name: readers[next(iter(readers)) if tool_set.reader is None else tool_set.reader]
        for name, tool_set in tool_sets.items()
        if readers and reads(tool_set)
    }


def stand_ins(target: TargetSpec, targets: Iterable[TargetSpec]) -> list[TargetSpec]:
    """Return the targets whose activations may be read in a placebo row instead of this one's.

    They were made from the same model and differ in the truth: they have another motive, or none
    and are of another group.
    """
    return [
        other for other in targets if _origin(other) == _origin(target) and _differ(other, target)
    ]


def _origin(target: TargetSpec) -> tuple[object, ...]:
    if target.baseline is not None:
        return (target.baseline,)
    if isinstance(target.model, ServedModel):
        return (target.model.name,)
    return target.model.path, target.model.revision


def _differ(other: TargetSpec, target: TargetSpec) -> bool:
    if other.id == target.id or other.model == target.model:
        return False
    if other.truth.motive is not None:
        return other.truth.motive != target.truth.motive
    return other.truth.group != target.truth.group


def check_placebos(
    document: Document, written: Mapping[str, Any], targets: Sequence[TargetSpec]
) -> list[Mistake]:
    """Check that every target of a placebo row has a stand-in, and of a shuffled one a baseline."""
    lonely = {
        "placebo": [target.id for target in targets if not stand_ins(target, targets)],
        "shuffled": [target.id for target in targets if target.baseline is None],
    }
    whats = {
        "placebo": "has no other target to take a placebo's readings of; add a target of another "
        "motive or group with the same baseline, or delete the tool set",
        "shuffled": "has no baseline to shuffle its readings with; add one, or delete the tool set",
    }
    return [
        document.mistake(
            ("tool_sets", name, "null_readout"), f"{_listed(lonely[null])} {whats[null]}"
        )
        for name, data in written.items()
        if isinstance(data, dict)
        and isinstance(null := data.get("null_readout"), str)
        and lonely.get(null)
    ]
