"""Kills runs at random moments and goes on with them; started by `test_kill.py`.

One process imports everything and forks a child for each life of a run, because twenty imports
would take a minute. A life is an ordinary `execute` in a process group of its own; its end is
SIGKILL to the group.

    python killing.py RESOLVED_JSON FOLDER AUDITOR KILLS SEED
"""

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from auditor.investigator.protocol import Move, ResultLookup, ToolCall, View
from auditor.provider.scripted import ScriptedPolicy
from auditor.records import Hypothesis, Submission
from auditor.run.execute import Hooks, RunOptions, RunPlan, execute
from auditor.scenario.schema import ResolvedScenario
from tests.auditor.run.conftest import FakePool

LIFE = 0.25
"""Seconds at most from the plan to the kill: a few steps."""
CALL = 0.004
"""Seconds that the auditor's paid call takes."""
CALLS = "calls.log"


def main() -> None:
    resolved = ResolvedScenario.model_validate_json(Path(sys.argv[1]).read_text())
    folder, auditor, kills, seed = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5]
    moments = random.Random(seed)
    lives: list[list[str]] = []
    # In this process, so that it has imported all that a life needs.
    run(resolved, folder / "undisturbed", auditor, lambda what: None)
    assert threading.active_count() == 1, "a process with threads must not fork"
    while sum(map(len, lives)) - len(lives) < kills:
        runs_dir = folder / f"killed-{len(lives)}"
        ends = ["killed"]
        while ends[-1] == "killed":
            ends.append(live(resolved, runs_dir, auditor, delay=moments.uniform(0, LIFE)))
        lives.append(ends[1:])
    print(json.dumps(lives))


def live(resolved: ResolvedScenario, runs_dir: Path, auditor: str, delay: float) -> str:
    """Start or go on with a run; return how that process ended."""
    begun, begin = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        code = 1
        try:
            run(resolved, runs_dir, auditor, lambda what: os.write(begin, b"!"))
            code = 0
        finally:
            os._exit(code)
    os.close(begin)
    os.read(begun, 1)
    os.close(begun)
    time.sleep(delay)
    os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    return f"exit {os.waitstatus_to_exitcode(status)}"


def run(
    resolved: ResolvedScenario,
    runs_dir: Path,
    auditor: str,
    on_plan: Callable[[RunPlan], object],
) -> None:
    runs_dir.mkdir(exist_ok=True)
    policy = None
    if auditor == "scripted":
        policy = lambda planned, resolved: paying(runs_dir / CALLS)  # noqa: E731
    execute(
        resolved,
        RunOptions(runs_dir=runs_dir, run="r", workers=1),
        hooks=Hooks(on_plan=on_plan, pool=FakePool(), policy=policy),
    )


def paying(log: Path) -> ScriptedPolicy:
    """An auditor that is paid for every move, and uses all that an auditor has."""

    def act(view: View, lookup: ResultLookup) -> Move:
        with log.open("a") as file:
            file.write(f"{view.seed} {view.turn}\n")
        time.sleep(CALL)
        heard = [*view.memory.get("heard", []), *(r.summary for r in view.results)]
        guess = Hypothesis(statement=f"wants {len(heard)} things", kind="motive", confidence=0.6)
        if view.turn == 4:
            seen = [item["reply"] for n in range(1, 5) for item in lookup.items(f"E{n}")]
            claim = guess.model_copy(update={"demonstration": " ".join([*seen, *view.notes])})
            done = Submission(verdict="motive", hypotheses=(claim,))
            return Move(thought="done", submission=done, auditor_tokens=3, dollars=0.25)
        prompts = [" ".join(heard)[-40:] or "hi", "and you?"][: 1 + view.turn % 2]
        return Move(
            thought=f"turn {view.turn}",
            calls=tuple(
                ToolCall(tool="chat", arguments={"prompts": [p], "max_tokens": 9}) for p in prompts
            ),
            hypotheses=(guess,) if view.turn % 2 else None,
            note=f"heard {len(heard)}",
            memory={"heard": heard},
            auditor_tokens=7,
            dollars=0.5,
        )

    return ScriptedPolicy(act)


if __name__ == "__main__":
    main()
