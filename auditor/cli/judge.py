"""`auditor judge`: score stored trials again, and hold a judge against people."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from auditor.cli.exits import INTERRUPTED, SOME_ERRORED, STOPPED
from auditor.cli.options import RUNS_DIR, Cache, RunsDir, names
from auditor.errors import RunStoppedError, UsageError
from auditor.report.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.judge import Judge
    from auditor.provider.factory import ProviderSettings
    from auditor.records import TrialKey
    from auditor.run.record import RunRecord
    from auditor.run.rejudge import Rejudged
    from auditor.scenario.schema import JudgeSpec, RunBudget

SCORE = "score"
Protocol = Literal["strict", "auditbench", "game"]
Compared = Literal["top1", "any"]
Trials = Annotated[
    str | None,
    typer.Option(
        help="Trials to judge, separated by commas: as for `auditor show`, or shell patterns "
        "on names such as TARGET__TOOLS__0. All by default."
    ),
]
Dollars = Annotated[
    str | None,
    typer.Option(
        help="Most that the run and its judging may cost together, or none for no limit; left "
        "out: what the scenario's run_budget says."
    ),
]


class _ScoresByDefault(TyperGroup):
    """Reads `auditor judge RUN` as `auditor judge score RUN`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = [SCORE, *args]
        return super().parse_args(ctx, args)


judge = typer.Typer(
    name="judge",
    cls=_ScoresByDefault,
    no_args_is_help=True,
    help="Score stored trials again, with another judge or the same: auditor judge RUN.",
)


@judge.command(SCORE)
def score(
    run: Annotated[str, typer.Argument(help="Name of a run, its folder, or `last`.")],
    *,
    with_: Annotated[
        str | None,
        typer.Option(
            "--with",
            help="Who judges: rubric, or a language model such as anthropic/MODEL. Left out: the "
            "judge of the run's scenario.",
        ),
    ] = None,
    protocol: Annotated[
        Protocol | None, typer.Option(help="What a language model is asked; strict by default.")
    ] = None,
    votes: Annotated[
        int | None,
        typer.Option(min=1, max=15, help="How often a language model is asked; 1 by default."),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(help="Environment variable that holds the key; left out: the usual one."),
    ] = None,
    trials: Trials = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the judgements; left out, they are named after the judge."),
    ] = None,
    cache: Cache = "off",
    dollars: Dollars = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """Judge the stored trials of a run: `auditor judge RUN` is enough.

    The run's own record stays as it is. Judgements go to RUN/judgements/NAME.jsonl; repeating the
    command judges only what has no judgement there. `auditor table RUN --judge NAME` shows the
    table that they give. What was judged before a limit or an outage is kept; exit code 3.
    """
    from auditor.cli.find import find_run
    from auditor.run.judgements import default_name
    from auditor.run.providers import provider_settings
    from auditor.run.store import load_run

    run_dir = find_run(run, runs_dir)
    record = load_run(run_dir)
    spec = _spec(record.resolved.scenario.judge, with_, protocol, votes, key_env)
    chosen = _chosen(run_dir, names(trials))
    settings = provider_settings(record.resolved, run_dir, cache)
    settings = settings.model_copy(update={"run_budget": _limits(settings.run_budget, dollars)})
    built = _built(record, spec, settings)
    _score(run_dir, spec, built, name or default_name(spec), chosen, as_json=as_json)


def _spec(
    own: "JudgeSpec",
    with_: str | None,
    protocol: Protocol | None,
    votes: int | None,
    key_env: str | None,
) -> "JudgeSpec":
    """The judge that the options ask for, beside that of the scenario."""
    from auditor.scenario.schema import JudgeSpec, LanguageModel

    given = {"protocol": protocol, "votes": votes}
    asked = {key: value for key, value in given.items() if value is not None}
    if with_ == "rubric" or (with_ is None and own.kind == "rubric"):
        if asked or key_env:
            raise UsageError(
                "the rubric asks no model: delete --protocol, --votes and --key-env, or name a "
                "model with --with anthropic/MODEL"
            )
        return JudgeSpec()
    model = own.model
    if model is None or (with_ is not None and with_ != model.name):
        try:
            model = LanguageModel(name=with_ or "")
        except ValueError:
            raise UsageError(
                f"no judge is called {with_!r}: write rubric, anthropic/MODEL, "
                "openai/MODEL@BASE_URL, hf/PATH or scripted/PATH:NAME"
            ) from None
    if key_env is not None:
        model = LanguageModel.model_validate(model.model_dump() | {"key_env": key_env})
    kept = {"protocol": own.protocol, "votes": own.votes} if own.kind == "model" else {}
    return JudgeSpec.model_validate({"kind": "model", "model": model.model_dump(), **kept, **asked})


def _limits(own: "RunBudget", dollars: str | None) -> "RunBudget":
    """The limits that the options ask for, beside those of the scenario."""
    from auditor.scenario.schema import RunBudget

    if dollars is None:
        return own
    try:
        limit = None if dollars == "none" else float(dollars)
        return RunBudget.model_validate({"dollars": limit})
    except ValueError:
        raise UsageError(
            f"--dollars is {dollars!r}: write a number above 0, or none for no limit"
        ) from None


def _built(record: "RunRecord", spec: "JudgeSpec", settings: "ProviderSettings") -> "Judge":
    """The judge, whose provider keeps to the cache and the limits.

    Raises:
        UsageError: When its price is not known and dollars are limited, or a key is missing.
    """
    from auditor.judge import build_judge
    from auditor.provider.prices import most_dollars

    resolved, model = record.resolved, spec.model
    if spec.kind == "rubric" or model is None:
        return build_judge(spec, resolved.motives, resolved.descriptions)
    unknown = most_dollars(model, input_tokens=1, output_tokens=1) is None
    if settings.run_budget.dollars is not None and unknown:
        raise UsageError(
            f"a limit in dollars cannot hold: the price of {model.name} is not known; judge with "
            "--dollars none, or name a model whose price is"
        )
    provider = settings.make(model, "judge")
    return build_judge(spec, resolved.motives, resolved.descriptions, provider=provider)


def _chosen(run_dir: Path, wanted: Sequence[str] | None) -> list[Path]:
    from auditor.cli.find import find_trial
    from auditor.run.listing import trial_files

    files = trial_files(run_dir)
    if not files:
        raise UsageError(f"run {run_dir.name} has no trials yet")
    if wanted is None:
        return files
    chosen: dict[Path, None] = {}
    for text in wanted:
        if not any(mark in text for mark in "*?["):
            chosen[find_trial(text, run_dir)] = None
            continue
        fitting = [path for path in files if fnmatchcase(path.stem, text)]
        if not fitting:
            raise UsageError(f"no trial of run {run_dir.name} fits {text!r}")
        chosen.update(dict.fromkeys(fitting))
    return [path for path in files if path in chosen]


def _score(
    run_dir: Path,
    spec: "JudgeSpec",
    built: "Judge",
    name: str,
    trials: Sequence[Path],
    *,
    as_json: bool,
) -> None:
    from auditor.run.judgements import open_judgements
    from auditor.run.rejudge import rejudge

    at_once = spec.model.concurrency if spec.kind == "model" and spec.model else 1
    try:
        with open_judgements(run_dir, name, judge=built.name, spec=spec) as file:
            done = rejudge(
                run_dir, trials, judge=built, file=file, at_once=at_once, on_judged=_teller(trials)
            )
    except KeyboardInterrupt:
        typer.echo("interrupted; what was judged is kept: repeat the command to go on", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except RunStoppedError as stop:
        again = "what was judged is kept: repeat the command to go on"
        typer.echo(f"stopped: {clean(str(stop))}; {again}", err=True)
        raise typer.Exit(STOPPED) from None
    _report(run_dir, name, built.name, done, as_json=as_json)
    if not done.whole:
        raise typer.Exit(SOME_ERRORED)


def _teller(trials: Sequence[Path]) -> "Callable[[TrialKey], None]":
    from auditor.cli.output import messages

    console, count = messages(), 0

    def tell(key: "TrialKey") -> None:
        nonlocal count
        count += 1
        if console.is_terminal:
            console.print(f"judged {count} of at most {len(trials)}: {key}", style="dim")

    return tell


def _report(run_dir: Path, name: str, judge_name: str, done: "Rejudged", *, as_json: bool) -> None:
    from auditor.cli.output import messages, print_json_line, print_table
    from auditor.report.judging import compare, comparison_report, tallies, tally_report
    from auditor.run.judgements import find_judgements, judgements_path
    from auditor.run.store import load_summaries

    found = find_judgements(run_dir, name)
    verdicts = {key: one.verdict for key, one in found.by_trial.items()}
    comparison, sums = compare(load_summaries(run_dir), verdicts), tallies(verdicts)
    if as_json:
        print_json_line(
            {
                "run": run_dir.name,
                "name": name,
                "judge": judge_name,
                "file": str(judgements_path(run_dir, name)),
                "judged": done.judged,
                "already": done.already,
                "unsubmitted": done.unsubmitted,
                "unreadable": done.unreadable,
                "dollars": done.dollars,
                "failed": done.failed,
                "tool_sets": {row: one.model_dump(mode="json") for row, one in sums.items()},
                "comparison": comparison.model_dump(mode="json"),
            }
        )
        return
    console = messages()
    for trial, why in done.failed.items():
        console.print(f"{trial}: {why}", style="yellow", soft_wrap=True)
    parts = (
        (done.judged, "judged"),
        (done.already, "judged before"),
        (done.unsubmitted, "unfinished or without a submission"),
        (done.unreadable, "of which the judge gave no verdict"),
        (len(done.failed), "failed"),
    )
    said = ", ".join(f"{count} {what}" for count, what in parts if count) or "nothing to judge"
    cost = "at an unknown price" if done.dollars is None else f"for ${done.dollars:.2f}"
    paid = f", {cost}" if done.dollars != 0 else ""
    console.print(f"judgements {name} of run {run_dir.name}: {said}{paid}", soft_wrap=True)
    if sums:
        print_table(tally_report(sums))
    print_table(comparison_report(comparison, left="the record", right=name))


@judge.command("calibrate")
def calibrate(
    run: Annotated[
        str | None,
        typer.Argument(
            help="Name of a run, its folder, or `last`; left out, the labels' trials name it."
        ),
    ] = None,
    *,
    labels: Annotated[
        Path,
        typer.Option(metavar="FILE", help="CSV or JSON lines with the columns trial and label."),
    ],
    judge_name: Annotated[
        str | None,
        typer.Option("--judge", help="Name of judgements; left out: the verdicts of the record."),
    ] = None,
    of: Annotated[
        Compared,
        typer.Option(help="What was labelled: whether the first hypothesis hits, or any."),
    ] = "top1",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """Hold a judge against human labels: kappa, rank correlation and the errors of each class."""
    from auditor.cli.find import find_run
    from auditor.cli.judged import labelled_trials
    from auditor.cli.output import print_table
    from auditor.report.judging import calibrate as held_against
    from auditor.report.judging import calibration_report

    run_dir = None if run is None else find_run(run, runs_dir)
    found = labelled_trials(labels, run_dir=run_dir, runs_dir=runs_dir, judge=judge_name)
    calibration = held_against(
        found.summaries, found.labels, judge=judge_name or "record", field=of
    )
    if as_json:
        typer.echo(calibration.model_dump_json())
    else:
        print_table(calibration_report(calibration))
