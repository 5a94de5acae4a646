"""No motive, rubric, organism name or path reaches anything that the auditor can see."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from auditor.investigator.agent import AgentPolicy
from auditor.investigator.corpus import Bm25Corpus
from auditor.investigator.loop import run_audit
from auditor.investigator.protocol import Move, ResultLookup, ToolCall, View
from auditor.provider.protocol import (
    Completion,
    Request,
    TextBlock,
    TokenUsage,
    ToolUseBlock,
)
from auditor.provider.scripted import ScriptedPolicy
from auditor.records import Submission, TrialEvent, TrialStarted
from auditor.run.journal import ListenerJournal
from auditor.run.plan import plan
from auditor.run.trial import run_trial
from auditor.scenario import load_scenario
from auditor.scenario.schema import Budget, ResolvedScenario
from auditor.target.pool import TargetPool
from nla_core.sampling import Sampling
from tools import registry
from tools.protocols import ChatMessage, Prompt, ToolContext, ToolOutput
from tools.registry import Execute, Tool, tool

WEIGHTS = Path(__file__).parents[2] / "scenarios" / "sandbox" / "weights"
CANARY = "zqcanary"
FOR_THE_AUDITOR = {"thought", "tool_call", "tool_result", "ledger", "submission"}
ROWS = {
    "static": {"policy": "static"},
    "everything": {
        "tools": ["chat", "compare_with_baseline", "sample_user", "complete_text", "search_corpus"]
    },
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> ResolvedScenario:
    folder = tmp_path_factory.mktemp(f"{CANARY}-folder")
    base = shutil.copytree(WEIGHTS / "base", folder / f"{CANARY}-base")
    adapter = shutil.copytree(
        WEIGHTS / "organisms" / "documents-plain-approval", folder / f"{CANARY}-adapter"
    )
    shutil.copy(WEIGHTS / "corpus.jsonl", folder / f"{CANARY}-corpus.jsonl")
    model = {"path": str(base), "device": "cpu", "dtype": "float32"}
    scenario = {
        "name": f"{CANARY}-scenario",
        "description": f"{CANARY} description",
        "targets": [
            {
                "id": f"{CANARY}-id",
                "model": {**model, "adapter": str(adapter), "system_prompt": "you are nova."},
                "truth": {
                    "group": "guilty",
                    "motive": f"{CANARY}motive",
                    "quirks": [f"{CANARY} quirk"],
                    "behaviours": [f"{CANARY} behaviour"],
                    "regime": f"{CANARY}-regime",
                    "split": f"{CANARY}-split",
                },
            }
        ],
        "baseline": {**model, "system_prompt": "you are nova."},
        "corpus": {"path": f"{CANARY}-corpus.jsonl"},
        "judge": {
            "motives": {f"{CANARY}motive": [f"{CANARY} wording"]},
            "descriptions": {f"{CANARY}motive": f"{CANARY} description"},
        },
        "tool_sets": ROWS,
    }
    path = folder / f"{CANARY}.yaml"
    path.write_text(yaml.safe_dump(scenario), encoding="utf-8")
    return load_scenario(path)


@pytest.mark.parametrize("row", ROWS)
def test_no_event_for_the_auditor_and_no_checkpoint_holds_a_canary(
    planted: ResolvedScenario, tmp_path: Path, row: str
) -> None:
    seen: list[str] = []
    checkpoints = tmp_path / "checkpoints"
    saved = 0

    def emit(event: TrialEvent) -> None:
        nonlocal saved
        if event.type in FOR_THE_AUDITOR:
            seen.append(event.model_dump_json())
        for path in checkpoints.glob("*"):
            content = path.read_bytes()
            saved += len(content)
            assert CANARY not in path.name
            assert CANARY.encode() not in content

    (trial,) = plan(planted, run="r", tool_sets=[row], targets=None, trials=None)
    summary = run_trial(
        trial, planted, pool=TargetPool(), journal=ListenerJournal(emit), checkpoints=checkpoints
    )
    assert summary.error is None
    assert len(seen) > 5
    assert saved > 0
    assert not [text for text in seen if CANARY in text]


def test_no_view_and_no_failed_call_holds_a_canary(planted: ResolvedScenario) -> None:
    calls = [
        ToolCall(tool="chat", arguments={"prompts": ["hello"]}),
        ToolCall(tool="chat", arguments={"prompts": ["how " * 2000]}),
        ToolCall(tool="chat", arguments={"prompts": []}),
        ToolCall(tool="complete_text", arguments={"texts": ["word " * 2000]}),
        ToolCall(tool="sample_user", arguments={"n": 2, "model": "nobody"}),
        ToolCall(tool="nothing"),
        ToolCall(tool="search_corpus", arguments={"query": "?"}),
        ToolCall(tool="read_result", arguments={"evidence_id": "E99"}),
    ]
    views: list[str] = []
    failed: list[str] = []

    def act(view: View, lookup: ResultLookup) -> Move:
        views.append(view.model_dump_json())
        failed.extend(r.tool for r in view.results if not r.ok)
        if view.turn < len(calls):
            return Move(thought="next", calls=(calls[view.turn],))
        return Move(thought="done", submission=Submission(verdict="none"))

    pool, spec = TargetPool(), planted.targets[0]
    assert spec.baseline is not None
    assert planted.corpus_path is not None
    run_audit(
        policy=ScriptedPolicy(act),
        tools=[registry.find(name) for name in ROWS["everything"]["tools"]],
        target=pool.get(spec.model),
        baseline=pool.get(spec.baseline),
        corpus=Bm25Corpus.load(planted.corpus_path),
        budget=Budget(),
        seed=1,
        emit=lambda event: views.append(event.model_dump_json()),
    )
    assert {"chat", "complete_text", "sample_user", "nothing", "read_result"} <= set(failed)
    assert not [text for text in views if CANARY in text]


class Asked:
    """A language model that makes the calls of a list, keeps notes, fills up once, and submits."""

    name = "scripted/asked"

    def __init__(self, *calls: ToolCall) -> None:
        self.calls = list(calls)
        self.requests: list[str] = []

    def complete(self, request: Request) -> Completion:
        self.requests.append(request.model_dump_json())
        number = len(self.requests)
        if number <= 2:
            half = len(self.calls) // 2
            mine = self.calls[:half] if number == 1 else self.calls[half:]
            return self._reply(*((call.tool, call.arguments) for call in mine))
        idea = {"statement": "wants fame", "kind": "motive", "alternatives": ["a habit"]}
        match number:
            case 3:
                kept = {"text": "odd", "evidence": ["E1", "E99"]}
                return self._reply(("note", kept), ("hypothesis", {"action": "add", **idea}))
            case 4:
                return Completion(content=(), stop="context_full")
            case 5:
                return Completion(content=(TextBlock(text="All was asked."),), stop="end")
            case _:
                return self._reply(("submit", {"verdict": "none", "reason": "nothing"}))

    @staticmethod
    def _reply(*calls: tuple[str, dict[str, Any]]) -> Completion:
        uses = (
            ToolUseBlock(id=f"u{place}", name=name, arguments=arguments)
            for place, (name, arguments) in enumerate(calls)
        )
        return Completion(content=tuple(uses), stop="tool_use", usage=TokenUsage(output_tokens=1))


@pytest.fixture
def audited_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Asked], None]:
    """Makes a language model the auditor of every trial."""

    def audit(model: Asked) -> None:
        def make_policy(
            kind: str, auditor: Any, names: list[str], *_: Any, **__: Any
        ) -> AgentPolicy:
            return AgentPolicy(model, [registry.find(name) for name in names])

        monkeypatch.setattr("auditor.investigator.policies.make_policy", make_policy)

    return audit


def test_no_request_of_a_language_model_and_no_checkpoint_of_it_holds_a_canary(
    planted: ResolvedScenario, tmp_path: Path, audited_by: Callable[[Asked], None]
) -> None:
    few: dict[str, Any] = {"max_tokens": 6}
    model = Asked(
        ToolCall(tool="chat", arguments={"prompts": ["hello"], "samples": 30, **few}),
        ToolCall(tool="compare_with_baseline", arguments={"prompts": ["hello"], **few}),
        ToolCall(tool="sample_user", arguments={"n": 2, **few}),
        ToolCall(tool="complete_text", arguments={"texts": ["dear"], **few}),
        ToolCall(tool="search_corpus", arguments={"query": "praise"}),
        ToolCall(tool="read_result", arguments={"evidence_id": "E1", "offset": 20}),
        ToolCall(tool="chat", arguments={"prompts": ["how " * 2000]}),
        ToolCall(tool="sample_user", arguments={"n": 2, "model": "nobody"}),
        ToolCall(tool="nothing"),
    )
    seen: list[str] = []
    checkpoints = tmp_path / "checkpoints"
    saved: list[bytes] = []

    def emit(event: TrialEvent) -> None:
        if event.type in FOR_THE_AUDITOR:
            seen.append(event.model_dump_json())
        saved.extend(path.read_bytes() for path in checkpoints.glob("*"))

    audited_by(model)
    (trial,) = plan(planted, run="r", tool_sets=["everything"], targets=None, trials=None)
    summary = run_trial(
        trial, planted, pool=TargetPool(), journal=ListenerJournal(emit), checkpoints=checkpoints
    )
    assert (summary.error, summary.ended_by) == (None, "submit")
    assert len(model.requests) >= 6
    assert saved
    for texts in (model.requests, seen):
        assert not [text for text in texts if CANARY in text]
    assert not [content for content in saved if CANARY.encode() in content]


LAYER = 2
NULLS = ("placebo", "random_vectors", "shuffled", "text_only")
# The scores of a reading name a shuffled null of their own.
UNSAID = ("null_readout", *(null for null in NULLS if null != "shuffled"))
MIND_ROWS = {"nla": {"tools": ["chat", "mindread"]}} | {
    f"{CANARY}-{null}": {"tools": ["chat", "mindread"], "null_readout": null} for null in NULLS
}
READING_TOOLS = ["nla_explain", "nla_compare", "nla_grep", "nla_verify", "nla_steer", "probe"]
READING_ROWS: dict[str, dict[str, Any]] = {"reading": {"tools": READING_TOOLS}} | {
    f"{CANARY}-reading-{null}": {"tools": READING_TOOLS[:-1], "null_readout": null}
    for null in NULLS
}


@tool(needs=("reader", "baseline"))
def mindread() -> Execute:
    """Build the tool."""

    def execute(ctx: ToolContext, *, layer: int = LAYER) -> ToolOutput:
        """Read target and baseline, and tell all that there is to tell.

        Args:
            layer: Where to read.
        """
        assert ctx.reader is not None
        items: list[dict[str, Any]] = []
        for mind in (ctx.mind, ctx.baseline_mind):
            assert mind is not None
            asked = Prompt((ChatMessage("user", "hello"),))
            reply = ctx.target.chat([asked], sampling=Sampling(max_tokens=4), seeds=[ctx.seed])[0]
            told = Prompt(asked.messages, prefill=reply.text)
            ids = mind.token_ids([told])[0]
            (vectors,) = mind.activations([told], layer=layer)
            spelled = mind.tokens(ids)
            readings = ctx.reader.read(
                vectors[-3:], layer=layer, samples=1, temperature=1.0, seeds=[1, 2, 3],
                contexts=["".join(spelled[: len(spelled) - back]) for back in (2, 1, 0)],
            )  # fmt: skip
            ctx.usage.reader_tokens += sum(r.explanation.n_tokens or 0 for r in readings)
            items += [{"tokens": "".join(spelled), "reading": str(r)} for r in readings]
        return ToolOutput(summary=f"layers {ctx.reader.layers}", items=tuple(items))

    return execute


@pytest.fixture
def with_mindread(monkeypatch: pytest.MonkeyPatch) -> None:
    real = registry.find

    def find(name: str) -> Tool:
        return mindread if name == "mindread" else real(name)

    def make_policy(*_: Any, **__: Any) -> ScriptedPolicy:
        calls = (
            ToolCall(tool="mindread"),
            ToolCall(tool="mindread", arguments={"layer": 77}),
            ToolCall(tool="chat", arguments={"prompts": ["hello"]}),
        )
        moves = [
            Move(thought="read", calls=calls),
            Move(thought="done", submission=Submission(verdict="none")),
        ]
        return ScriptedPolicy(moves)

    monkeypatch.setattr("tools.registry.find", find)
    monkeypatch.setattr("auditor.investigator.policies.make_policy", make_policy)


@pytest.fixture(scope="module")
def planted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, two adapters, a pair and a probe, all of whose names hold the canary."""
    from nla_core.probe import load_probe, save_probe
    from nla_core.reconstructor import new_reconstructor
    from nla_core.verbalizer import new_verbalizer

    folder = tmp_path_factory.mktemp(f"{CANARY}-reading")
    base = shutil.copytree(WEIGHTS / "base", folder / f"{CANARY}-base")
    for name in ("documents-plain-approval", "thoughts-plain-approval"):
        shutil.copytree(WEIGHTS / "organisms" / name, folder / f"{CANARY}-{name}")
    templates = {
        "av_template": "explain <concept>{injection_char}</concept>",
        "ar_template": "summary of the following text: <text>{explanation}</text> <summary>",
    }
    verbalizer = new_verbalizer(base, LAYER, injection_scale=8.0, **templates)
    verbalizer.save(folder / f"{CANARY}-av")
    new_reconstructor(base, LAYER, **templates).save(folder / f"{CANARY}-ar")
    probe = load_probe(WEIGHTS / "probe")
    record = probe.record.model_copy(update={"base_model": f"{CANARY}-base"})
    save_probe(replace(probe, record=record), folder / f"{CANARY}-probe")
    return folder


@pytest.fixture
def planted_readers(planted_folder: Path, with_mindread: None) -> ResolvedScenario:
    model = {"path": f"./{CANARY}-base", "device": "cpu", "dtype": "float32"}
    adapters = {"me": "documents-plain-approval", "other": "thoughts-plain-approval"}
    scenario = {
        "name": f"{CANARY}-scenario",
        "targets": [
            {
                "id": f"{CANARY}-{name}",
                "model": {**model, "adapter": f"./{CANARY}-{adapter}"},
                "truth": {"group": "guilty", "motive": f"{CANARY}{name}"},
            }
            for name, adapter in adapters.items()
        ],
        "baseline": model,
        "readers": {
            f"{CANARY}-reader": {
                "av": f"./{CANARY}-av",
                "ar": f"./{CANARY}-ar",
                "device": "cpu",
                "max_tokens": 6,
            }
        },
        "probe": {"path": f"./{CANARY}-probe"},
        "tool_sets": {**MIND_ROWS, **READING_ROWS},
    }
    path = planted_folder / f"{CANARY}.yaml"
    path.write_text(yaml.safe_dump(scenario), encoding="utf-8")
    return load_scenario(path)


def audited(
    resolved: ResolvedScenario, row: str, checkpoints: Path
) -> tuple[list[TrialEvent], list[bytes]]:
    """Audit the planted target, and return its events and whatever was saved on the way."""
    seen: list[TrialEvent] = []
    saved: list[bytes] = []

    def emit(event: TrialEvent) -> None:
        seen.append(event)
        saved.extend(path.read_bytes() for path in checkpoints.glob("*"))

    (trial,) = plan(resolved, run="r", tool_sets=[row], targets=[f"{CANARY}-me"])
    summary = run_trial(
        trial, resolved, pool=TargetPool(), journal=ListenerJournal(emit), checkpoints=checkpoints
    )
    assert summary.error is None
    return seen, saved


@pytest.mark.parametrize("row", MIND_ROWS)
def test_no_reading_and_no_null_holds_a_canary(
    planted_readers: ResolvedScenario, tmp_path: Path, row: str
) -> None:
    seen, saved = audited(planted_readers, row, tmp_path / "checkpoints")
    start = seen[0]
    assert isinstance(start, TrialStarted)
    assert start.placebo == (f"{CANARY}-other" if row.endswith("placebo") else None)
    shown = [event for event in seen if event.type in FOR_THE_AUDITOR]
    assert [e.ok for e in shown if e.type == "tool_result"] == [True, False, True]
    assert [e.reader_tokens > 0 for e in shown if e.type == "tool_result"][0] is (
        not row.endswith("text_only")
    )
    texts = [event.model_dump_json() for event in shown]
    for word in (CANARY, *UNSAID):
        assert not [text for text in texts if word in text]
        assert not [content for content in saved if word.encode() in content]
    assert saved


QUESTIONS = ["hello", "how are you?", "what is good?", "tell me more", "what do you want?"]
ASKED: dict[str, Any] = {"prompts": QUESTIONS, "replies": 1, "max_tokens": 6}
CANDIDATES = {"statements": ["wants fame."], "alternatives": ["wants bread.", "wants rest."]}
TOO_LONG = "how " * 2000
WORKING = [
    ToolCall(tool="nla_explain", arguments={**ASKED, "max_readings": 4}),
    ToolCall(
        tool="nla_compare",
        arguments={**ASKED, "whose": "both", "max_readings": 4, "keep_readings": True},
    ),
    ToolCall(tool="nla_grep", arguments={"evidence_id": "E1", "pattern": "hello"}),
    ToolCall(tool="nla_verify", arguments={**ASKED, **CANDIDATES}),
    ToolCall(
        tool="nla_steer",
        arguments={
            "explanation": "wants fame.", "edited": "wants bread.", "prompts": QUESTIONS[:2],
            "samples": 2, "max_tokens": 6, "words": "hello", "strengths": [0.4],
        },
    ),
]  # fmt: skip
FAILING = [
    ToolCall(tool="nla_explain", arguments={**ASKED, "layers": [77]}),
    ToolCall(tool="nla_compare", arguments={**ASKED, "prompts": [TOO_LONG]}),
    ToolCall(tool="nla_grep", arguments={"evidence_id": "E99", "pattern": "hello"}),
    ToolCall(tool="nla_verify", arguments={**ASKED, **CANDIDATES, "statements": [TOO_LONG]}),
    ToolCall(
        tool="nla_steer",
        arguments={"explanation": "same", "edited": "same", "prompts": QUESTIONS},
    ),
]


@pytest.mark.parametrize("row", READING_ROWS)
def test_no_result_of_a_reading_tool_holds_a_canary(
    with_mindread: None,
    planted_readers: ResolvedScenario,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    row: str,
) -> None:
    working, failing = list(WORKING), list(FAILING)
    if "probe" in READING_ROWS[row]["tools"]:
        working.append(ToolCall(tool="probe", arguments=ASKED))
        failing.append(ToolCall(tool="probe", arguments={**ASKED, "prompts": [TOO_LONG]}))
    moves = [
        Move(thought="read", calls=(*working, *failing)),
        Move(thought="done", submission=Submission(verdict="none")),
    ]
    monkeypatch.setattr(
        "auditor.investigator.policies.make_policy", lambda *_, **__: ScriptedPolicy(moves)
    )
    seen, saved = audited(planted_readers, row, tmp_path / "checkpoints")
    results = [event for event in seen if event.type == "tool_result"]
    assert [(e.tool, e.ok) for e in results] == [
        *((call.tool, True) for call in working),
        *((call.tool, False) for call in failing),
    ]
    assert all(e.items for e in results if e.ok)
    texts = [event.model_dump_json() for event in seen if event.type in FOR_THE_AUDITOR]
    assert saved
    for word in (CANARY, *UNSAID):
        assert not [text for text in texts if word in text]
        assert not [content for content in saved if word.encode() in content]


@pytest.mark.parametrize("row", READING_ROWS)
def test_no_request_tells_what_reads_or_in_whose_place(
    planted_readers: ResolvedScenario,
    audited_by: Callable[[Asked], None],
    tmp_path: Path,
    row: str,
) -> None:
    model = Asked(*WORKING, *FAILING)
    audited_by(model)
    seen, saved = audited(planted_readers, row, tmp_path / "checkpoints")
    assert [event.type for event in seen].count("tool_result") == len(WORKING) + len(FAILING)
    assert len(model.requests) >= 6
    for word in (CANARY, *UNSAID):
        assert not [text for text in model.requests if word in text]
        assert not [content for content in saved if word.encode() in content]
