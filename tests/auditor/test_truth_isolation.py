"""No motive, rubric, organism name or path reaches anything that the auditor can see."""

import shutil
from pathlib import Path

import pytest
import yaml

from auditor.investigator.corpus import Bm25Corpus
from auditor.investigator.loop import run_audit
from auditor.investigator.protocol import Move, ResultLookup, ToolCall, View
from auditor.provider.scripted import ScriptedPolicy
from auditor.records import Submission, TrialEvent
from auditor.run.plan import plan
from auditor.run.trial import run_trial
from auditor.scenario import load_scenario
from auditor.scenario.schema import Budget, ResolvedScenario
from auditor.target.pool import TargetPool
from tools import registry

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
                    "regime": f"{CANARY}-regime",
                    "split": f"{CANARY}-split",
                },
            }
        ],
        "baseline": {**model, "system_prompt": "you are nova."},
        "corpus": {"path": f"{CANARY}-corpus.jsonl"},
        "judge": {"motives": {f"{CANARY}motive": [f"{CANARY} wording"]}},
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
    summary = run_trial(trial, planted, pool=TargetPool(), emit=emit, checkpoints=checkpoints)
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
