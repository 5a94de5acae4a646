"""Checks that reach beyond single values: across targets, tool sets and files."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from auditor.errors import Mistake, UsageError
from auditor.scenario.diagnose import Loc, nearest, shorten
from auditor.scenario.document import Document
from auditor.scenario.readers import check_choice, no_reader
from auditor.scenario.schema import JudgeSpec, TargetSpec, ToolSet, Truth
from auditor.scenario.toolfiles import check_settings
from auditor.scenario.validate import salvage, sound_indices


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
    readers: tuple[str, ...] = ()
    """Names of all readers."""
    probe: bool = False
    sae: bool = False
    served: tuple[tuple[str, frozenset[str]], ...] = ()
    """Ids of targets of which some part is behind a provider, and what can be asked of both."""
    oracle: bool = False


def check_tool_sets(document: Document, written: Mapping[str, Any], offer: Offer) -> list[Mistake]:
    """Rows can be told apart, and their tools exist and have what they need.

    Args:
        document: The scenario.
        written: The tool sets as they stand in the file; what is faulty is passed over.
        offer: What there is for the tools.
    """
    mistakes = []
    first: dict[str, str] = {}
    for name, data in written.items():
        loc: Loc = ("tool_sets", name)
        what = _name_problem(name, first.setdefault(name.casefold(), name))
        if what:
            mistakes.append(document.mistake(loc, what, key=True))
        # Without its faulty list of tools, a set would count as one that has none.
        faulty = isinstance(data, dict) and not isinstance(data.get("tools", []), list)
        tool_set = None if faulty else salvage(ToolSet, data)
        if tool_set is not None:
            indices = sound_indices(data, "tools")
            mistakes += _check_tool_set(document, loc, tool_set, indices, offer)
            if len(indices) == len(data.get("tools", [])):
                mistakes += check_choice(document, loc, tool_set, offer.readers)
                mistakes += check_settings(document, loc, tool_set)
    return mistakes


def _name_problem(name: str, first: str) -> str:
    if name != first:
        return f"tool sets {first!r} and {name!r} differ in case alone; rename one"
    if "__" in name:
        return f"{shorten(name)}: two underscores part the names of records; write one"
    return ""


def _check_tool_set(
    document: Document, loc: Loc, tool_set: ToolSet, indices: Sequence[int], offer: Offer
) -> list[Mistake]:
    if tool_set.policy == "static":
        what = ""
        if tool_set.tools:
            loc = (*loc, "tools")
            what = "the static battery takes no tools; delete `tools`, or write `policy: agent`"
        elif offer.without_baseline is not None:
            what = _no_baseline("the static battery", offer.without_baseline, "the tool set")
        else:
            battery = {"sample_user", "complete"}
            what = _out_of_reach("the static battery", battery, offer, "the tool set")
        return [document.mistake(loc, what, key=True)] if what else []
    if not tool_set.tools and not indices:
        what = "a tool set for the agent needs tools; list some, or write `policy: static`"
        return [document.mistake(loc, what, key=True)]
    mistakes = []
    for position, (index, tool) in enumerate(zip(indices, tool_set.tools, strict=True)):
        what = _tool_problem(tool, tool_set.tools[:position], offer)
        if what:
            mistakes.append(document.mistake((*loc, "tools", index), what))
    return mistakes


def _tool_problem(name: str, earlier: Sequence[str], offer: Offer) -> str:
    from tools.files import ToolFileError
    from tools.registry import UnknownToolError, find, registered

    if name in earlier:
        return f"tool {name!r} is listed twice; delete one"
    try:
        needs = find(name).needs
    except UnknownToolError:
        return f"no tool is called {shorten(name)}; {nearest(name, registered())}"
    except ToolFileError as error:
        return str(error)
    if "baseline" in needs and offer.without_baseline is not None:
        return _no_baseline(f"tool {name!r}", offer.without_baseline, "the tool")
    far = _out_of_reach(f"tool {name!r}", needs, offer, "the tool")
    if far:
        return far
    if "corpus" in needs and not offer.corpus:
        what = f"tool {name!r} needs a corpus, and the scenario has none"
        return f"{what}; add `corpus: {{path: …}}`, or delete the tool"
    if "reader" in needs and not offer.readers:
        return no_reader(name)
    if "probe" in needs and not offer.probe:
        what = f"tool {name!r} needs a probe, and the scenario has none"
        return f"{what}; add `probe: {{path: …}}`, or delete the tool"
    if "sae" in needs and not offer.sae:
        what = f"tool {name!r} needs a sparse autoencoder, and the scenario has none"
        return f"{what}; add `sae: {{path: …}}`, or delete the tool"
    if "oracle" in needs and not offer.oracle:
        what = f"tool {name!r} needs an activation oracle, and the scenario has none"
        return f"{what}; add `oracle: {{path: …}}`, or delete the tool"
    return ""


def _out_of_reach(who: str, needs: Collection[str], offer: Offer, row: str) -> str:
    """Say what cannot be asked of a model behind a provider, with what to do instead."""
    for target, capabilities in offer.served:
        missing = sorted(set(needs) & set(_INSTEAD) - capabilities)
        if missing:
            what = (
                f"{who} needs {_INSTEAD[missing[0]][0]}, and target {target!r} or its baseline is "
            )
            return f"{what}behind a provider; {_INSTEAD[missing[0]][1]}, or delete {row}"
    return ""


_BY_PATH = "run the model here (`model: {path: …}`)"
_BY_SERVER = "let a server that does that run it (`continues_text: true`)"
_INSTEAD = {
    "activations": ("activations", _BY_PATH),
    "complete": ("raw text to be continued", _BY_SERVER),
    "logprobs": ("log-probabilities", _BY_PATH),
    "prefill": ("replies that were begun for the target", _BY_SERVER),
    "reader": ("activations", _BY_PATH),
    "oracle": ("activations", _BY_PATH),
    "probe": ("activations", _BY_PATH),
    "sample_user": ("turns of the user to be sampled", _BY_PATH),
}
"""What a model behind a provider may lack: in words, and what to do instead."""


def _no_baseline(who: str, target: str, row: str) -> str:
    what = f"{who} needs a baseline, and target {target!r} has none"
    return f"{what}; add `baseline: {{path: …}}` to the scenario, or delete {row}"


def check_corpus(path: Path) -> list[Mistake]:
    """Every line of a corpus is a document."""
    from auditor.investigator.corpus import CorpusError, read_documents

    try:
        read_documents(path)
    except CorpusError as error:
        place, _, what = str(error).removeprefix(str(path)).partition(": ")
        line = place.strip(":")
        return [Mistake(str(path), int(line or 0), 1 if line else 0, what)]
    return []


def check_rubric(document: Document, motives: Mapping[str, Sequence[str]]) -> list[Mistake]:
    """The wordings can be matched, and none names two motives."""
    from auditor.judge import RubricJudge

    try:
        RubricJudge(motives)
    except UsageError as error:
        data = document.data.get("judge")
        own = isinstance(data, dict) and data.get("motives")
        return [
            document.mistake(("judge", "motives") if own else ("targets",), str(error), key=True)
        ]
    return []


def check_judge(document: Document, judge: JudgeSpec) -> list[Mistake]:
    """A judge that is a model names one, and the rubric, which asks nobody, is not given one.

    Args:
        document: The scenario.
        judge: What is sound of its judge.
    """
    data = document.data.get("judge")
    written = data if isinstance(data, dict) else {}
    if judge.kind == "model":
        # A model that is there and faulty is a mistake of its own.
        if written.get("model") is not None:
            return []
        what = "a judge of this kind needs a model; add `model: {name: …}`"
        return [document.mistake(("judge", "kind"), what)]
    if written.get("kind", "rubric") != "rubric":
        return []
    found = []
    if written.get("model") is not None:
        what = "kind rubric takes no model; write `kind: model`, or delete `model`"
        found.append(document.mistake(("judge", "model"), what, key=True))
    for key in ("protocol", "votes"):
        if key in written and not found:
            what = f"the rubric asks no model; write `kind: model`, or delete `{key}`"
            found.append(document.mistake(("judge", key), what, key=True))
    return found
