"""`auditor run`: carry out a scenario, watch it, and print the table."""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from auditor.cli.exits import INTERRUPTED, SOME_ERRORED, STOPPED
from auditor.cli.options import RUNS_DIR, Cache, RunsDir, names

if TYPE_CHECKING:
    from auditor.records import TrialEvent, TrialKey, TrialSummary
    from auditor.report.live import View
    from auditor.run.options import Hooks, RunPlan, RunResult
    from auditor.scenario import ResolvedScenario

_MOST_TROUBLES = 10


ScenarioName = Annotated[str, typer.Argument(help="Scenario file, or the name of a shipped one.")]
ToolSets = Annotated[
    str | None,
    typer.Option(help="Tool sets to run, by name, separated by commas. All by default."),
]
Targets = Annotated[
    str | None,
    typer.Option(
        help="Targets to audit: shell patterns on ids, or group:…, split:…, regime:… patterns, "
        "separated by commas; & between patterns where all must hold. All by default."
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(min=1, help="Trials per target and tool set, instead of the scenario's."),
]
Seed = Annotated[
    int | None, typer.Option(min=0, help="Seed of the run, instead of the scenario's.")
]
BudgetName = Annotated[
    str | None,
    typer.Option(
        "--budget", help="One of the scenario's named budgets, instead of its default one."
    ),
]
RunName = Annotated[
    str | None, typer.Option("--run", help="Name of the run. One that is there is continued.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes of one trial each; actors, with --executor ray."),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Trials at once in one process, whose model work shares batches: for trials that wait "
        "on providers or share one accelerator.",
    ),
]
ExecutorName = Annotated[
    Literal["local", "ray"],
    typer.Option("--executor", help="Where trials run: this machine, or a Ray cluster."),
]
Address = Annotated[
    str | None,
    typer.Option(help="Address of the Ray cluster; by default the one that RAY_ADDRESS names."),
]
Gpus = Annotated[
    float,
    typer.Option("--num-gpus", min=0, help="GPUs, or a share of one, of each of Ray's actors."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the table.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print a line for every tool call.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON lines, and nothing else, on standard output.")
]
NoLive = Annotated[
    bool, typer.Option("--no-live", help="Print lines instead of redrawing the terminal.")
]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over",
        help="Go on with a run that a process on another machine did not let go of, once it is "
        "certain to have ended.",
    ),
]


def run(
    context: typer.Context,
    scenario: ScenarioName,
    *,
    tool_sets: ToolSets = None,
    targets: Targets = None,
    trials: Trials = None,
    seed: Seed = None,
    budget: BudgetName = None,
    name: RunName = None,
    runs_dir: RunsDir = RUNS_DIR,
    workers: Workers = None,
    cache: Cache = "off",
    concurrency: Concurrency = None,
    executor: ExecutorName = "local",
    address: Address = None,
    num_gpus: Gpus = 0.0,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: AsJson = False,
    no_live: NoLive = False,
    take_over: TakeOver = False,
) -> None:
    """Audit every target of a scenario with every tool set, and print the success-rate table."""
    from auditor.run.api import with_seed
    from auditor.run.execute import RunOptions, execute
    from auditor.scenario import load_scenario

    resolved = with_seed(load_scenario(scenario), seed)
    options = RunOptions(
        runs_dir=runs_dir,
        run=name,
        tool_sets=names(tool_sets),
        targets=names(targets),
        trials=trials,
        budget=budget,
        workers=workers,
        cache=cache,
        take_over=take_over,
        concurrency=concurrency,
        executor=executor,
        address=address,
        num_gpus=num_gpus,
    )
    watch = Watch(resolved, quiet=quiet, verbose=verbose, as_json=as_json, live=not no_live)
    carry_out(context, watch, lambda hooks: execute(resolved, options, hooks=hooks))


def carry_out(
    context: typer.Context, watch: "Watch", work: Callable[["Hooks"], "RunResult"]
) -> None:
    """Do a run's work while it is watched, report, and leave with its exit code.

    Raises:
        typer.Exit: With 1 when a trial errored, 3 when a limit or an outage stopped the run, 130
            after Ctrl-C.
    """
    from auditor.run.options import Hooks, RunInterruptedError, RunLimitError, RunOutageError

    hooks = Hooks(on_plan=watch.begin, on_event=watch.handle, on_interrupt=_say_drain)
    try:
        with watch:
            result = work(hooks)
    except RunInterruptedError as stop:
        n_trials = len(stop.plan.trials)
        again = f"continue with: {_again(context, stop.plan.run)}"
        typer.echo(f"interrupted after {stop.finished} of {n_trials} trials; {again}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except (RunLimitError, RunOutageError) as stop:
        n_trials = len(stop.plan.trials)
        if isinstance(stop, RunLimitError):
            again = f"raise it, then continue with: {_raised(context, stop.plan.run, watch)}"
        else:
            again = f"then continue with: {_again(context, stop.plan.run)}"
        typer.echo(
            f"stopped after {stop.finished} of {n_trials} trials: {stop.why}; {again}", err=True
        )
        raise typer.Exit(STOPPED) from None
    _report(result, as_json=watch.as_json, quiet=watch.quiet)
    if result.counts.get("errored") or result.counts.get("unfinished"):
        raise typer.Exit(SOME_ERRORED)


def _say_drain() -> None:
    # From a signal handler, which may have stopped this process in the middle of a `print`.
    os.write(2, b"\nfinishing the steps under way; Ctrl-C again stops at once\n")


class Watch:
    """Shows a run while it happens: a view on standard error, JSON lines on standard output."""

    def __init__(
        self,
        resolved: "ResolvedScenario",
        *,
        quiet: bool,
        verbose: bool,
        as_json: bool,
        live: bool,
    ) -> None:
        self._resolved, self.source = resolved, resolved.source
        self.quiet, self.as_json = quiet, as_json
        self._verbose, self._live = verbose, live
        self._stack = ExitStack()
        self._view: View | None = None
        self._outlines: dict[str, list[TrialEvent]] = {}

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self, what: "RunPlan") -> None:
        """Open the view once it is known what will be done."""
        from auditor.cli.output import messages, print_json_line
        from auditor.report.live import open_view

        if self.as_json:
            print_json_line(_launch(self._resolved, what), event="launch")
        console = messages()
        title = f"{self._resolved.scenario.name} · run {what.run}"
        if not self.quiet:
            console.print(_first_line(self._resolved, what), soft_wrap=True)
        # JSON lines on the same terminal would run through the redrawn part.
        live = self._live and not (self.as_json and sys.stdout.isatty())
        view = open_view(
            console,
            title=title,
            total=len(what.trials),
            already_done=what.n_done,
            quiet=self.quiet,
            live=live,
            verbose=self._verbose,
        )
        self._view = self._stack.enter_context(view)

    def handle(self, key: "TrialKey", event: "TrialEvent") -> None:
        """Take in one event of one trial."""
        if self._view is not None:
            self._view.handle(key, event)
        if self.as_json:
            self._outline(str(key), event)

    def _outline(self, key: str, event: "TrialEvent") -> None:
        """Keep what a summary is made of, and print the summary when the trial is sealed."""
        from auditor.cli.output import print_json_line
        from auditor.run.store import summarise

        if event.type == "started":
            self._outlines[key] = []
        if event.type in ("started", "submission", "verdict", "error", "sealed"):
            self._outlines[key].append(event)
        if event.type == "sealed":
            print_json_line(_trial(summarise(self._outlines.pop(key))), event="trial")


def _first_line(resolved: "ResolvedScenario", what: "RunPlan") -> str:
    n_targets = len({trial.key.target for trial in what.trials})
    rows = list(dict.fromkeys(trial.key.tool_set for trial in what.trials))
    grid = f"{_count(n_targets, 'target')} × {', '.join(rows)}"
    done = f", {what.n_done} of them already finished" if what.n_done else ""
    trials = _count(len(what.trials), "trial")
    limits = "" if what.budget is None else f"; budget {what.budget}"
    return f"{resolved.scenario.name}: {grid} = {trials}{done}{limits}; run {what.run}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _launch(resolved: "ResolvedScenario", what: "RunPlan") -> dict[str, Any]:
    return {
        "run": what.run,
        "run_dir": str(what.run_dir),
        "scenario": resolved.scenario.name,
        "seed": resolved.scenario.seed,
        "budget": what.budget,
        "targets": list(dict.fromkeys(trial.key.target for trial in what.trials)),
        "tool_sets": list(dict.fromkeys(trial.key.tool_set for trial in what.trials)),
        "n_trials": len(what.trials),
        "n_done": what.n_done,
        "workers": what.workers,
    }


def _trial(summary: "TrialSummary") -> dict[str, Any]:
    from auditor.report.outcome import outcome

    found = summary.model_dump(mode="json", exclude={"key"})
    went = outcome(summary.group, summary.status, summary.verdict)
    return {"key": str(summary.key), **summary.key.model_dump(), "outcome": went, **found}


def _report(result: "RunResult", *, as_json: bool, quiet: bool) -> None:
    from auditor.cli.output import messages, print_json_line, results
    from auditor.cli.table import rows_of
    from auditor.report.table import rich_report

    rows = rows_of([result.run_dir])
    if as_json:
        for row in rows:
            print_json_line(row, event="row")
        done = {"run": result.run, "run_dir": str(result.run_dir), "counts": dict(result.counts)}
        print_json_line(done, event="done")
        return
    console = messages()
    if not quiet:
        for line in _troubles(result.summaries, result.run):
            console.print(line, style="red", soft_wrap=True)
    results().print(rich_report(rows))
    if not quiet:
        where = _shown_path(result.run_dir)
        console.print(f"\nrecorded in {where}; replay a trial with:", style="dim", soft_wrap=True)
        console.print(f"  auditor show {_reference(result.run_dir)} 1", style="dim", soft_wrap=True)


def _troubles(summaries: Sequence["TrialSummary"], run: str) -> list[str]:
    """Name the trials without a verdict, for the table can only count them."""
    from auditor.report.text import one_line

    lines = []
    for summary in summaries:
        if summary.status == "errored":
            why = one_line(summary.error or "unknown", 160)
            lines.append(f"errored: {summary.key.stem}: {why}")
    if len(lines) > _MOST_TROUBLES:
        left = len(lines) - _MOST_TROUBLES
        lines[_MOST_TROUBLES:] = [f"and {left} more errored trials; see: auditor show {run}"]
    return lines


def _raised(context: typer.Context, run: str, watch: "Watch") -> str:
    """Return the command that reads the scenario, with its limits, again."""
    if "run" not in context.params:
        return _again(context, run)
    return shlex.join(["auditor", "run", _shown_path(watch.source), "--run", run])


def _again(context: typer.Context, run: str) -> str:
    """Return the command that continues a run: the same one, with the run's name."""
    words = ["auditor", context.command.name or ""]
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        value = context.params.get(parameter.name or "")
        if source is None or source.name != "COMMANDLINE" or parameter.name == "name":
            continue
        if parameter.param_type_name == "argument":
            words.append(str(value))
        else:
            words += [parameter.opts[0]] if value is True else [parameter.opts[0], str(value)]
    return shlex.join(words if "run" in context.params else [*words, "--run", run])


def _reference(run_dir: Path) -> str:
    """Return what to call a run on the command line: its name where that is enough."""
    if run_dir.parent == RUNS_DIR.absolute():
        return run_dir.name
    return _shown_path(run_dir)


def _shown_path(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
