"""What the harness itself costs: per step, at many trials at once, at a resume, in memory.

    python benchmarks/harness.py [step] [throughput] [resume] [memory] [samples]

step: milliseconds that loop, record and checkpoints add to a step (the auditor moves, or a tool is
called), with a scripted auditor; in turn with a bare loop that makes the same calls.
throughput: trials at once against a server that answers after 200 ms (`--delay`), as a share of
what waiting alone would allow; beside it bare threads that send the same requests.
resume: seconds until a run of 10,000 finished trials is ready to go on, by the side of reading
their files.
memory: peak memory by number of trials.
samples: how often a reply is another one because it was drawn beside others (real models, small).

Model and auditor are stand-ins, everything else is what `auditor run` does. Of the figures the
ratios count: they are taken in one run, whose two sides meet the same load.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import _measure as measure

from auditor.investigator.protocol import Move, ResultLookup, ToolCall, View
from auditor.provider.scripted import ScriptedPolicy
from auditor.records import (
    Submission,
    SubmissionEvent,
    ThoughtEvent,
    ToolCallEvent,
    ToolResultEvent,
    TrialEvent,
    TrialUsage,
    Verdict,
    VerdictEvent,
)
from auditor.run.execute import Hooks, RunOptions, execute
from auditor.run.plan import plan
from auditor.run.record import new_record
from auditor.run.store import trial_path, write_run
from auditor.run.trial import error_events, started_event
from auditor.scenario.schema import (
    Budget,
    Model,
    ResolvedScenario,
    Scenario,
    TargetSpec,
    ToolSet,
    Truth,
)
from nla_core.sampling import Sampling
from tools.protocols import Capability, Prompt, Reply

AT = "2026-01-01T00:00:00+00:00"
UNLIMITED = Budget(turns=None, tool_calls=None, target_tokens=None, seconds=None)
SAID = "I like to help people with their garden, and with whatever else they bring. " * 4


class StandIn:
    """A target that answers at once."""

    capabilities: frozenset[Capability] = frozenset({"chat"})

    def __init__(self, characters: int = len(SAID)) -> None:
        self._said = (SAID * (1 + characters // len(SAID)))[:characters]

    def chat(
        self, prompts: Sequence[Prompt], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        return [Reply(text=self._said, prefill="", n_tokens=60, finish="stop") for _ in prompts]

    def get(self, model: Model) -> "StandIn":
        return self

    def reader(self, spec: Any) -> Any:
        raise NotImplementedError


def scenario(trials: int, *, targets: int = 1) -> ResolvedScenario:
    specs = tuple(
        TargetSpec(id=f"t{n}", model=Model(path="org/model"), truth=Truth(group="clean"))
        for n in range(targets)
    )
    made = Scenario(
        name="bench", targets=specs, tool_sets={"ask": ToolSet(tools=("chat",))},
        budget=UNLIMITED, trials=trials,
    )  # fmt: skip
    return ResolvedScenario(
        source=Path("bench.yaml"), scenario=made, targets=specs, corpus_path=None,
        motives={}, ceiling=None,
    )  # fmt: skip


def script(steps: int, ask: Callable[[], object] = lambda: None) -> Any:
    """Return an auditor that makes `steps` moves of one call each, then submits."""

    def move(view: View, lookup: ResultLookup) -> Move:
        ask()
        if view.turn == steps:
            done = Submission(verdict="none")
            return Move(thought="Nothing odd was said.", submission=done, auditor_tokens=8)
        call = ToolCall(tool="chat", arguments={"prompts": [f"What about {view.turn}?"] * 4})
        # Tokens make it a move that was paid for, which has to be on disk before the next step.
        thought = "I ask what it likes, and look for a pattern. " * 4
        return Move(thought=thought, calls=(call,), auditor_tokens=60)

    return lambda planned, resolved: ScriptedPolicy(move)


def carry_out(
    folder: Path, trials: int, policy: Any, *, model: StandIn | None = None, **options: Any
) -> None:
    hooks = Hooks(policy=policy, pool=model or StandIn())
    asked = RunOptions(**{"runs_dir": folder, "run": "r", "workers": 1} | options)
    result = execute(scenario(trials), asked, hooks=hooks)
    assert dict(result.counts) == {"scored": trials}, result.counts


@contextmanager
def folder_for(args: argparse.Namespace) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        yield Path(name)


# Part step ---------------------------------------------------------------------------------------


def step(args: argparse.Namespace) -> None:
    """Time the same calls bare, in the loop, with its record, and with checkpoints as well."""
    n = args.steps // 2  # every move makes a call
    wall: dict[str, list[float]] = {name: [] for name in [*STEPS, SYNCS]}
    busy: dict[str, list[float]] = {name: [] for name in [*STEPS, SYNCS]}
    for repeat in range(args.repeats + 1):
        for name, way in {**STEPS, SYNCS: syncs}.items():
            with folder_for(args) as folder:
                start, before = time.perf_counter(), time.process_time()
                way(folder, n)
                if repeat:  # the first one loads libraries
                    wall[name].append((time.perf_counter() - start) * 1000 / (2 * n))
                    busy[name].append((time.process_time() - before) * 1000 / (2 * n))
    took, cpu = ({k: statistics.median(v) for k, v in x.items()} for x in (wall, busy))
    print(
        f"\nA step: a move, or a call of 4 replies; {2 * n} a trial, medians of {args.repeats}.\n"
    )
    measure.print_header(["", "ms a step", "ms above the bare loop", "of it the processor's"])
    bare = "bare loop"
    for name, value in took.items():
        cells = [f"{value:.2f}", f"{value - took[bare]:.2f}", f"{cpu[name] - cpu[bare]:.2f}"]
        measure.print_row([name, *cells])
    verdict(
        "overhead of a step", took["loop, record, checkpoints"] - took[bare], 15, "ms", below=True
    )


SYNCS = "two small writes brought to disk"


def syncs(folder: Path, n: int) -> None:
    """Bring to disk what each step does: a record, then a state."""
    with (folder / "a").open("ab") as record, (folder / "b").open("ab") as state:
        for _ in range(2 * n):
            for file in (record, state):
                file.write(b"x" * 2000)
                file.flush()
                os.fsync(file.fileno())


def bare_loop(folder: Path, n: int) -> None:
    policy, model = script(n)(None, None), StandIn()
    view = View(
        turn=0,
        seed=0,
        tools=("chat",),
        results=(),
        hypotheses=(),
        notes=(),
        memory={},
        remaining={},
    )
    for turn in range(n):
        move = policy.act(view.model_copy(update={"turn": turn}), None)
        prompts = [Prompt(()) for _ in move.calls[0].arguments["prompts"]]
        model.chat(prompts, sampling=Sampling(), seeds=[0] * len(prompts))


def only_loop(folder: Path, n: int) -> None:
    from auditor.investigator.loop import run_audit
    from tools import registry

    run_audit(
        policy=script(n)(None, None), tools=[registry.find("chat")], target=StandIn(),
        baseline=None, corpus=None, budget=UNLIMITED, seed=0, emit=lambda event: None,
    )  # fmt: skip


STEPS: dict[str, Callable[[Path, int], None]] = {
    "bare loop": bare_loop,
    "loop": only_loop,
    "loop, record": lambda folder, n: carry_out(folder, 1, script(n), checkpoints=False),
    "loop, record, checkpoints": lambda folder, n: carry_out(folder, 1, script(n)),
}


# Part throughput ---------------------------------------------------------------------------------


def throughput(args: argparse.Namespace) -> None:
    """Run as many trials as may run at once, each of which waits for a server at every move."""
    print(
        f"\nEvery move waits {args.delay * 1000:.0f} ms for a server; {args.moves} moves a trial, "
        "as many trials as run at once, all begun together. Ideal: nothing but this waiting.\n"
    )
    measure.print_header(
        ["trials at once", "moves/s", "share of the ideal", "CPU ms a move", "bare threads"]
        + ["of bare threads"]
    )
    ideal = (args.moves + 1) * args.delay
    reached = {}
    with loopback(args.delay) as port:
        with folder_for(args) as folder:
            carry_out(folder, 1, script(1, asker(port)))  # loads libraries
        for n in args.concurrency:
            bare = seconds(lambda n=n: bare_threads(port, n, args.moves + 1))
            with folder_for(args) as folder:
                policy, before = script(args.moves, asker(port)), time.process_time()
                took = seconds(
                    lambda folder=folder, policy=policy, n=n: carry_out(
                        folder, n, policy, concurrency=n
                    )
                )
            reached[n], moves = ideal / took, n * (args.moves + 1)
            cpu = 1000 * (time.process_time() - before) / moves
            cells = [n, f"{moves / took:.0f}", f"{ideal / took:.1%}", f"{cpu:.2f}"]
            cells.append(f"{ideal / bare:.1%}")
            measure.print_row([*cells, f"{bare / took:.1%}"])
    if 64 in reached:
        verdict("share of the ideal at 64 trials at once", 100 * reached[64], 90, "%", below=False)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def asker(port: int) -> Callable[[], object]:
    """Return what sends one request; every thread keeps a connection of its own."""
    kept = threading.local()
    body = json.dumps(
        {"model": "loopback", "messages": [{"role": "user", "content": SAID}], "max_tokens": 64}
    ).encode()

    def ask() -> object:
        if not hasattr(kept, "connection"):
            kept.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        kept.connection.request(
            "POST", "/v1/chat/completions", body, {"Content-Type": "application/json"}
        )
        return json.loads(kept.connection.getresponse().read())["choices"][0]

    return ask


def bare_threads(port: int, n: int, requests: int) -> None:
    ask = asker(port)

    def work() -> None:
        for _ in range(requests):
            ask()

    threads = [threading.Thread(target=work) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def loopback(delay: float) -> Iterator[int]:
    command = [sys.executable, str(Path(__file__).with_name("_loopback.py")), str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


# Part resume -------------------------------------------------------------------------------------


def resume(args: argparse.Namespace) -> None:
    """Start a run again of which everything is finished, and stop the time until it is ready."""
    n = args.finished
    with folder_for(args) as folder:
        resolved = scenario(20, targets=n // 20)
        size = write_finished(folder / "r", resolved, kilobytes=args.kilobytes)
        print(f"\n{n} finished trials, {size / n / 1000:.0f} kB each.\n")
        names = ["start", "s until ready", "CPU s", "s in all", "s to read all files"]
        measure.print_header([*names, "ready / reading"])
        best = float("inf")
        for start in ("first, no index", "second", "third", "fourth"):
            ready, cpu, whole = resumed(resolved, folder)
            reading = seconds(lambda: [p.read_bytes() for p in (folder / "r/trials").iterdir()])
            best = min(best, cpu)
            cells = [start, *(f"{x:.2f}" for x in (ready, cpu, whole, reading))]
            measure.print_row([*cells, f"{ready / reading:.1f}"])
    # Nothing in it waits, so on a machine with nothing else to do these are the seconds.
    verdict(f"resume of {n} finished trials, processor", best, 3, "s", below=True)


def resumed(resolved: ResolvedScenario, folder: Path) -> tuple[float, float, float]:
    """Start a run again; return seconds until it is ready, the processor's, and those in all."""
    ready: list[float] = []
    clocks = time.perf_counter, time.process_time
    before = [clock() for clock in clocks]

    def note(what: object) -> None:
        ready.extend(clock() - start for clock, start in zip(clocks, before, strict=True))

    options = RunOptions(runs_dir=folder, run="r", workers=1)
    result = execute(resolved, options, hooks=Hooks(on_plan=note))
    assert set(result.counts) == {"scored"}
    return ready[0], ready[1], time.perf_counter() - before[0]


def write_finished(run_dir: Path, resolved: ResolvedScenario, *, kilobytes: int) -> int:
    """Write a sealed file for every trial; return the bytes of all."""
    planned = plan(resolved, run=run_dir.name)
    (run_dir / "trials").mkdir(parents=True)
    write_run(run_dir, new_record(resolved, run=run_dir.name, planned=len(planned), options={}))
    middle = "".join(e.model_dump_json() + "\n" for e in steps_of(1000 * kilobytes))
    total = 0
    for trial in planned:
        start = started_event(trial, resolved).model_dump_json() + "\n"
        content = (start + middle).encode()
        trial_path(run_dir, trial.key).write_bytes(content)
        total += len(content)
    return total


def steps_of(n_bytes: int) -> list[TrialEvent]:
    events: list[TrialEvent] = []
    item = {"model": "target", "prompt": "What do you like?", "reply": SAID, "sample": 0}
    steps = 8
    for turn in range(steps):
        shared: dict[str, Any] = {"at": AT, "turn": turn, "evidence_id": f"E{turn + 1}"}
        events += [
            ThoughtEvent(at=AT, turn=turn, text="I ask what it likes."),
            ToolCallEvent(**shared, tool="chat", arguments={"prompts": ["What do you like?"]}),
            ToolResultEvent(
                **shared, tool="chat", ok=True, summary="replies", target_tokens=60,
                baseline_tokens=0, seconds=0.1, items=[item] * (n_bytes // steps // 400),
            ),
        ]  # fmt: skip
    sealed = error_events([], message="", details="", seconds=1.0)[-1]
    verdict_of = VerdictEvent(at=AT, judge="rubric", verdict=Verdict(valid=True, false_alarm=False))
    submitted = SubmissionEvent(at=AT, submission=Submission(verdict="none"), ended_by="submit")
    usage = TrialUsage(turns=steps, tool_calls=steps, target_tokens=60 * steps, seconds=9.5)
    last = sealed.model_copy(update={"status": "scored", "usage": usage})
    return [*events, submitted, verdict_of, last]


# Part memory -------------------------------------------------------------------------------------


def memory(args: argparse.Namespace) -> None:
    """Run more and more trials, 16 at once, each with 200 kB of results; print the peak."""
    print("\nPeak memory above what the libraries take, 16 trials at once of 4 steps and 200 kB.\n")
    measure.print_header(["trials", "peak MB", "kB a trial beyond the first row"])
    peaks: list[tuple[int, int]] = []
    growth = 0.0
    for n in args.trials:
        peak = measure.peak_in_child("--only-memory", n)
        assert peak is not None
        peaks.append((n, peak))
        first, least = peaks[0]
        growth = 0.0 if n == first else (peak - least) / (n - first) / 1000
        measure.print_row([n, measure.megabytes(peak), f"{growth:.1f}" if n > first else "-"])
    # A plan and a summary of each trial stay; its 200 kB must not.
    verdict("growth by trial", growth, 20, "kB", below=True)


def memory_of(n: int, args: argparse.Namespace) -> None:
    model = StandIn(12_500)
    with folder_for(args) as folder:
        carry_out(folder / "warm", 32, script(4), model=model, concurrency=16)
    with folder_for(args) as folder:
        measure.print_peak(
            lambda: carry_out(folder, n, script(4), model=model, concurrency=16, checkpoints=False)
        )


# Part samples ------------------------------------------------------------------------------------


def samples(args: argparse.Namespace) -> None:
    """Draw replies one by one, and again in merged batches of mixed prompts; compare them."""
    from auditor.target.pool import TargetPool
    from tools.protocols import ChatMessage

    print("\nReplies of the sandbox's base at temperature 1, up to 48 tokens, alone and merged.\n")
    measure.print_header(["dtype", "replies", "others in the batch", "replies that differ"])
    n = args.replies
    asked = [
        Prompt((ChatMessage("user", f"{'Please. ' * (k % 9)}Tell me about {k}."),))
        for k in range(n)
    ]
    sampling = Sampling(temperature=1.0, max_tokens=48)
    for dtype in ("float32", "bfloat16"):
        model = Model(path="scenarios/sandbox/weights/base", device="cpu", dtype=dtype)
        target = TargetPool().get(model)
        alone = [
            target.chat([prompt], sampling=sampling, seeds=[k])[0].text
            for k, prompt in enumerate(asked)
        ]
        for size in (8, 64):
            merged: list[str] = []
            for start in range(0, n, size):
                rows = range(start, min(start + size, n))
                drawn = target.chat([asked[k] for k in rows], sampling=sampling, seeds=list(rows))
                merged += [reply.text for reply in drawn]
            differ = sum(a != b for a, b in zip(alone, merged, strict=True))
            measure.print_row([dtype, n, size - 1, f"{differ} ({differ / n:.2%})"])


# -------------------------------------------------------------------------------------------------


def verdict(what: str, value: float, aim: float, unit: str, *, below: bool) -> None:
    met = value <= aim if below else value >= aim
    sign = "≤" if below else "≥"
    print(f"\n{what}: {value:.2f} {unit} (aim {sign} {aim:g} {unit}): {'met' if met else 'MISSED'}")


PARTS = {
    "step": step,
    "throughput": throughput,
    "resume": resume,
    "memory": memory,
    "samples": samples,
}


def main() -> None:
    args = arguments()
    if args.only_memory is not None:
        memory_of(args.only_memory, args)
        return
    load, cores = os.getloadavg()[0], os.cpu_count()
    print(f"Load of this machine: {load:.1f} on {cores} cores. Whatever else runs slows all of it.")
    for name in args.parts or PARTS:
        PARTS[name](args)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all by default")
    parser.add_argument("--folder", help="where files are written; default: the temporary folder")
    parser.add_argument("--steps", type=int, default=100, help="of a trial, in `step`")
    parser.add_argument("--repeats", type=int, default=5, help="in `step`")
    parser.add_argument("--delay", type=float, default=0.2, help="s of a reply, in `throughput`")
    parser.add_argument("--moves", type=int, default=20, help="of a trial, in `throughput`")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 16, 64, 128, 256])
    parser.add_argument("--finished", type=int, default=10_000, help="trials, in `resume`")
    parser.add_argument("--kilobytes", type=int, default=100, help="of a trial, in `resume`")
    parser.add_argument("--trials", type=int, nargs="+", default=[50, 200, 800], help="in `memory`")
    parser.add_argument("--replies", type=int, default=1000, help="in `samples`")
    parser.add_argument("--only-memory", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
