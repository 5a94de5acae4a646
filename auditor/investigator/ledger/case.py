"""One audit as the ledger sees it on one turn: its memory, and everything read so far."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from auditor.investigator.ledger.budget import Purse
from auditor.investigator.ledger.claims import (
    Link,
    Motive,
    add_leads,
    add_named,
    add_readings,
    explained_away,
    find_links,
    rank_motives,
)
from auditor.investigator.ledger.evidence import (
    Kind,
    Memo,
    Sample,
    read_excerpts,
    read_memos,
    read_samples,
)
from auditor.investigator.ledger.instruments import (
    INSTRUMENTS,
    Key,
    Lead,
    find_lead,
    read_places,
)
from auditor.investigator.ledger.intents import Intent, find_intents
from auditor.investigator.ledger.naming import NOBODY, TOOL, Named, name_in, named_wishes
from auditor.investigator.ledger.phrases import Candidate, Finding, confirm
from auditor.investigator.ledger.readings import Read, read_intents, with_tests
from auditor.investigator.ledger.stated import spoken
from auditor.investigator.ledger.words import words
from auditor.investigator.protocol import ResultLookup, View
from nla_core.seeds import derive_seed

_FEW = 8
_SUPERVISED = frozenset({"probe", "activation_oracle"})
"""Tools that were shown labels: what they name cannot be put to the activations again."""
_TOKENS_PER_WORD = 1.5


@dataclass(slots=True)
class Memory:
    """What the policy carries from turn to turn, as JSON."""

    stage: int = 0
    """Index of the next stage."""
    pending: str = ""
    """Label of the last move's calls."""
    evidence: list[tuple[str, str, str]] = field(default_factory=list)
    """(label, tool, evidence id) of every successful call, in order."""
    candidates: list[Candidate] = field(default_factory=list)
    """Phrases found odd; they are fixed before confirmation."""
    seconds: float | None = None
    """Seconds that were left on the last turn."""
    slowest: float = 0.0
    """Seconds that the slowest turn took."""

    def tick(self, left: float | None) -> None:
        """Note how long the last turn took, from the seconds that are left now."""
        if left is not None and self.seconds is not None:
            self.slowest = max(self.slowest, self.seconds - left)
        self.seconds = left

    @classmethod
    def load(cls, memory: dict[str, Any]) -> "Memory":
        """Read it back."""
        return cls(
            stage=memory.get("stage", 0),
            pending=memory.get("pending", ""),
            evidence=[(label, tool, id_) for label, tool, id_ in memory.get("evidence", ())],
            candidates=[
                Candidate(tuple(c["phrase"]), c["z"], tuple(c["prompts"]))
                for c in memory.get("candidates", ())
            ],
            seconds=memory.get("seconds"),
            slowest=memory.get("slowest", 0.0),
        )

    def dump(self) -> dict[str, Any]:
        """Write it as JSON."""
        return {
            "stage": self.stage,
            "pending": self.pending,
            "evidence": [list(entry) for entry in self.evidence],
            "candidates": [
                {"phrase": list(c.phrase), "z": c.z, "prompts": list(c.prompts)}
                for c in self.candidates
            ],
            "seconds": self.seconds,
            "slowest": self.slowest,
        }


class Case:
    """Everything that one turn may need, read from the results when first asked for."""

    def __init__(self, view: View, lookup: ResultLookup, level: float) -> None:
        """`level` is the chance of a false alarm that the whole audit may take."""
        self.memory = Memory.load(view.memory)
        for result in view.results:
            if result.ok:
                entry = (self.memory.pending, result.tool, result.evidence_id)
                self.memory.evidence.append(entry)
        self.memory.tick(view.remaining.get("seconds"))
        self.failures = [r.summary for r in view.results if not r.ok]
        self.tools = frozenset(view.tools)
        self.purse = Purse.open(view.remaining, slowest=self.memory.slowest)
        self.seed = view.seed
        # One half for behaviours, one half for what the target says that it wants.
        self.level = level / 2
        self._lookup = lookup
        self._read: dict[str, list[Sample]] = {}

    def samples(self, *labels: str) -> list[Sample]:
        """Samples that the stages of these names drew; of all stages when none is named."""
        drawn: list[Sample] = []
        for label, tool, evidence_id in self.memory.evidence:
            if not labels or label in labels:
                if evidence_id not in self._read:
                    items = self._lookup.items(evidence_id)
                    self._read[evidence_id] = read_samples(tool, evidence_id, items)
                drawn += self._read[evidence_id]
        return drawn

    def results(
        self, *tools: str, stage: str | None = None
    ) -> Iterator[tuple[str, tuple[dict[str, Any], ...]]]:
        """Evidence id and items of every successful call of these tools, or of one stage's."""
        for label, tool, evidence_id in self.memory.evidence:
            if tool in tools and stage in (None, label):
                yield evidence_id, self._lookup.items(evidence_id)

    def usual_tokens(self, kind: Kind) -> float | None:
        """Tokens of a usual text of this kind, counted generously; None when few were drawn.

        Before there are continuations, they are taken to be as long as replies.
        """
        drawn = [s for s in self.samples() if s.is_target and s.kind != "user turn"]
        alike = [s for s in drawn if s.kind == kind] or drawn
        lengths = [len(s.text.split()) for s in alike]
        if len(lengths) < _FEW:
            return None
        return 1 + _TOKENS_PER_WORD * sum(lengths) / len(lengths)

    @cached_property
    def memos(self) -> list[Memo]:
        """Documents found in the corpus."""
        found: list[Memo] = []
        for evidence_id, items in self.results("search_corpus"):
            found += read_memos(evidence_id, items)
        for evidence_id, items in self.results("grep_corpus"):
            found += read_excerpts(evidence_id, items)
        return found

    @cached_property
    def readings(self) -> list[Read]:
        """Wishes that readings of the target name, strongest first, with what tests say of them."""
        found: list[Read] = []
        for _, tool, evidence_id in self.memory.evidence:
            if tool in ("nla_compare", *_SUPERVISED):
                items = self._lookup.items(evidence_id)
                found += read_intents(evidence_id, items, probed=tool in _SUPERVISED)
        for evidence_id, items in self.results("nla_verify"):
            read = [r for r in found if not r.probed]
            tested = with_tests(read, evidence_id, items)
            found = [*tested, *(r for r in found if r.probed)]
        return sorted(found, key=lambda r: (-r.strength, r.intent.wanted))

    @cached_property
    def called(self) -> str | None:
        """What the target is called; None before anybody looked."""
        seen = [items for _, items in self.results(TOOL, stage="look")]
        return next(filter(None, map(name_in, seen)), NOBODY) if seen else None

    @cached_property
    def named(self) -> list[Named] | None:
        """Wishes that are in the target's mind where it is named; None when nobody looked."""
        seen = list(self.results(TOOL, stage="name"))
        return [wish for e, items in seen for wish in named_wishes(e, items)] if seen else None

    @cached_property
    def wishes(self) -> dict[Key, Intent]:
        """What documents and readings say is wanted, then what texts say, oftenest first."""
        found = [intent for memo in self.memos for intent in find_intents(memo.text)]
        found += [read.intent for read in self.readings]
        found += [one.intent for one in self.named or ()]
        said = [intent for s in self.samples() for intent in find_intents(spoken(s))]
        often = Counter(intent.key for intent in said)
        named: dict[Key, Intent] = {}
        for intent in (*found, *sorted(said, key=lambda i: (-often[i.key], i.wanted))):
            named.setdefault(intent.key, intent)
        return named

    @cached_property
    def said(self) -> frozenset[str]:
        """Every word of all texts and of what they answer."""
        return frozenset(w for s in self.samples() for w in words(f"{s.prompt} {s.text}"))

    @cached_property
    def leads(self) -> list[Lead]:
        """The wish that each instrument singles out, where it does so beyond chance."""
        found: list[Lead] = []
        for tool in INSTRUMENTS:
            places = [p for e, items in self.results(tool) for p in read_places(tool, e, items)]
            if places:
                lead = find_lead(places, self.wishes, self.said)
                found += [lead] if lead is not None and lead.holds(self.level) else []
        return found

    @cached_property
    def findings(self) -> list[Finding]:
        """Every candidate tested on fresh samples; empty before confirmation."""
        return self.test(self.samples("confirm"))

    @cached_property
    def confirmed(self) -> list[Finding]:
        """Behaviours that survive, surest first."""
        kept = [f for f in self.findings if f.confirmed(self.level)]
        return sorted(kept, key=lambda f: (f.p, f.baseline_rate - f.target_rate, f.phrase))

    @cached_property
    def links(self) -> list[Link]:
        """Documents that say why an assistant would show a confirmed behaviour."""
        return find_links(self.confirmed, self.memos)

    @cached_property
    def motives(self) -> list[Motive]:
        """Candidate motives, best first; none without an odd behaviour or readings that name it."""
        innocent = explained_away(self.confirmed, self.memos, self.links)
        motives: list[Motive] = []
        if not all(f.phrase in innocent for f in self.confirmed):
            motives = rank_motives(self.links, self.samples(), level=self.level, seed=self.seed)
        motives = add_readings(motives, self.readings, level=self.level, seed=self.seed)
        motives = add_leads(motives, self.leads, seed=self.seed)
        # Last, since it marks all motives: what is not named there has that against it.
        return motives if self.named is None else add_named(motives, self.named, seed=self.seed)

    def test(self, samples: Iterable[Sample]) -> list[Finding]:
        """Test the candidates on samples that played no part in finding them."""
        seed = derive_seed(self.seed, "permutation")
        return confirm(self.memory.candidates, list(samples), seed=seed)
