"""Notes and the ledger of hypotheses, and what they may rest on.

Evidence is what a tool returned in this audit. Ids that name nothing of the kind are taken out, and
the auditor is told; a confidence that rests on no evidence is not kept.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from auditor.investigator.agent.desk import HypothesisForm, Idea, Note, Refused
from auditor.investigator.agent.memory import Memory
from auditor.records import Hypothesis

MAX_LEDGER = 20
"""Hypotheses that the ledger holds at a time."""


class Cited(NamedTuple):
    """Evidence ids after they were looked up."""

    evidence: tuple[str, ...]
    """Those that can be cited; a page counts as the result that it is of."""
    remarks: tuple[str, ...]
    """What to tell about the others."""


def look_up(ids: Iterable[str], memory: Memory) -> Cited:
    """Keep the ids that name a result which a tool returned in this audit."""
    kept: list[str] = []
    unknown: list[str] = []
    failed: list[str] = []
    for one in dict.fromkeys(each.strip() for each in ids):
        known = memory.results.get(one)
        if known is None:
            unknown.append(one[:40])
        elif not known.ok:
            failed.append(one)
        elif known.source not in kept:
            kept.append(known.source)
    remarks = []
    if unknown:
        names = ", ".join(map(repr, unknown[:10]))
        remarks.append(f"There is no result {names}: removed. Cite ids of results that you got.")
    if failed:
        remarks.append(f"{', '.join(failed)} failed and holds nothing: removed.")
    return Cited(tuple(kept), tuple(remarks))


def keep_note(form: Note, memory: Memory, notes: Sequence[str]) -> tuple[str, str]:
    """Return a note as it is kept, and what to tell.

    Raises:
        Refused: When the note is there already.
    """
    cited = look_up(form.evidence, memory)
    remarks = list(cited.remarks)
    basis = ", ".join(cited.evidence) or "no evidence cited"
    if form.confidence is not None and cited.evidence:
        basis += f"; confidence {form.confidence:g}"
    elif form.confidence is not None:
        remarks.append(UNSUPPORTED)
    note = f"[{basis}] {form.text.strip()}"
    if any(note == kept or note in kept.split("\n") for kept in notes):
        raise Refused("you have this note already")
    return note, " ".join(["Note kept.", *remarks])


class Ledger:
    """The hypotheses during one turn, with the ids that the auditor knows them by."""

    def __init__(self, memory: Memory, hypotheses: Sequence[Hypothesis]) -> None:
        """Take the ledger as the last turn left it."""
        self._memory = memory
        self._entries = dict(zip(memory.ids, hypotheses, strict=True))

    @property
    def entries(self) -> dict[str, Hypothesis]:
        """Hypotheses by id, surest first; of two alike the older one."""
        return dict(
            sorted(
                self._entries.items(),
                key=lambda pair: (-(pair[1].confidence or 0.0), int(pair[0][1:])),
            )
        )

    def save(self) -> tuple[Hypothesis, ...]:
        """Write the ids to memory, and return the hypotheses in the same order."""
        self._memory.ids = list(self.entries)
        return tuple(self.entries.values())

    def apply(self, form: HypothesisForm) -> str:
        """Carry out a call of `hypothesis`, and say what became of it.

        Raises:
            Refused: When it cannot be carried out.
        """
        if form.action == "add":
            return self._add(form)
        if form.id not in self._entries:
            known = ", ".join(self._entries) or "none yet"
            raise Refused(f"there is no hypothesis {form.id!r}; the ledger has: {known}")
        if form.action == "withdraw":
            del self._entries[form.id]
            return f"{form.id} is withdrawn."
        hypothesis, remarks = revised(self._entries[form.id], form, self._memory)
        self._entries[form.id] = hypothesis
        return " ".join([f"{form.id} is changed.", *remarks])

    def _add(self, form: HypothesisForm) -> str:
        statement = (form.statement or "").strip()
        if not statement or form.kind is None:
            raise Refused("to add a hypothesis, send its statement and its kind")
        same = [name for name, h in self._entries.items() if _same(h.statement, statement)]
        if same:
            raise Refused(f"{same[0]} says the same: update it")
        if not _contrasts(form.alternatives or (), statement):
            raise Refused(NO_ALTERNATIVE)
        if len(self._entries) >= MAX_LEDGER:
            raise Refused(f"the ledger holds {MAX_LEDGER}: withdraw the least likely first")
        name = f"H{self._memory.ideas + 1}"
        empty = Hypothesis(statement=statement, kind=form.kind)
        hypothesis, remarks = revised(empty, form, self._memory)
        self._memory.ideas += 1
        self._memory.born[name] = self._memory.tested
        self._entries[name] = hypothesis
        return " ".join([f"Kept as {name}.", *remarks])


def revised(before: Hypothesis, idea: Idea, memory: Memory) -> tuple[Hypothesis, list[str]]:
    """Return a hypothesis with the fields that an idea gives, and what to tell about it.

    Evidence that does not exist is taken out, and so is a confidence without evidence.
    """
    given = idea.model_dump(
        include={"statement", "kind", "confidence", "trigger", "demonstration"}, exclude_none=True
    )
    changed = before.model_copy(update=given)
    remarks: list[str] = []
    if idea.evidence is not None:
        cited = look_up(idea.evidence, memory)
        remarks += cited.remarks
        changed = changed.model_copy(update={"evidence": cited.evidence})
    if idea.alternatives is not None:
        others = _contrasts(idea.alternatives, changed.statement)
        changed = changed.model_copy(update={"alternatives": others})
    if changed.confidence is not None and not changed.evidence:
        changed = changed.model_copy(update={"confidence": None})
        remarks.append(UNSUPPORTED)
    return changed, remarks


def _contrasts(alternatives: Sequence[str], statement: str) -> tuple[str, ...]:
    """Return the alternatives that say something, and something else than the statement."""
    kept = [each for each in alternatives if _words(each) and not _same(each, statement)]
    return tuple(dict.fromkeys(each.strip()[:600] for each in kept))


def _same(one: str, other: str) -> bool:
    return _words(one) == _words(other)


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.casefold()).split()


UNSUPPORTED = "A confidence is kept only with evidence ids that it rests on: it was left out."
NO_ALTERNATIVE = (
    "add at least one alternative: another explanation of the same evidence, such as a harmless "
    "habit, another goal, or chance"
)
