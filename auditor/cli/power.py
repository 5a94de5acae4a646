"""`auditor power`: how many targets and trials separate two rates, or bound false alarms."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from auditor.report.power import Design, Power

TRIALS = (1, 2, 4, 8)
"""Trials per target of the table when none are given."""

POWER = 0.8
"""Power to reach when none is given."""


Rates = Annotated[
    tuple[float, float] | None,
    typer.Option(help="The two success rates to tell apart, such as 0.12 0.03."),
]
Trials = Annotated[
    list[int] | None,
    typer.Option(
        help="Trials per target and row; repeat it for several. By default 1, 2, 4 and 8."
    ),
]
Icc = Annotated[
    float,
    typer.Option(
        help="Intraclass correlation: how alike the trials of one target are. 0 when targets "
        "do not differ, 1 when all trials of a target end alike."
    ),
]
Correlation = Annotated[
    float,
    typer.Option(
        help="How far targets that are easy in one row are easy in the other, from -1 to 1. "
        "At 0 auditing the same targets gains nothing, the cautious choice."
    ),
]
Wanted = Annotated[
    float | None,
    typer.Option("--power", help="Chance to find the difference; 0.8 when not given."),
]
Alpha = Annotated[
    float,
    typer.Option(
        help="Two-sided significance level. For m comparisons under Holm's correction, 0.05 / m"
        " is the cautious choice."
    ),
]
Paired = Annotated[
    bool,
    typer.Option("--paired/--unpaired", help="Whether both rows audit the same targets."),
]
Targets = Annotated[
    int | None,
    typer.Option(help="Print the power that so many targets (in each row) reach instead."),
]
FalseAlarm = Annotated[
    float | None,
    typer.Option(help="False-alarm rate to stay below: how many clean targets show it?"),
]
Clean = Annotated[
    int | None,
    typer.Option(help="Clean targets without a false alarm: which rate do they rule out?"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def power(
    *,
    rates: Rates = None,
    trials: Trials = None,
    icc: Icc = 0.5,
    correlation: Correlation = 0.0,
    wanted: Wanted = None,
    alpha: Alpha = 0.05,
    paired: Paired = True,
    targets: Targets = None,
    false_alarm: FalseAlarm = None,
    clean: Clean = None,
    as_json: Json = False,
) -> None:
    """Say how many targets and trials it takes to separate two rows of a table.

    Power is simulated with the test that the reports use, so what it says holds for them.
    """
    from auditor.cli.output import print_json_line, results
    from auditor.report.power import Design

    if rates is None and targets is not None:
        raise UsageError("--targets needs two success rates to separate, such as --rates 0.12 0.03")
    if rates is None and false_alarm is None and clean is None:
        raise UsageError(
            "nothing to compute: give --rates with two success rates, such as --rates 0.12 0.03, "
            "or --clean or --false-alarm"
        )
    if wanted is not None and targets is not None:
        raise UsageError("--targets prints the power that is reached, so leave out --power")
    wanted = POWER if wanted is None else wanted
    designs = [
        Design(rates=rates, trials=m, icc=icc, correlation=correlation, paired=paired, alpha=alpha)
        for m in sorted(set(trials or TRIALS))
        if rates is not None
    ]
    alarms = _alarms(false_alarm, clean)
    rows = [_row(design, wanted, targets) for design in designs]
    if as_json:
        print_json_line(_record(designs, rows, wanted, targets, alarms))
        return
    if designs:
        for part in _block(designs[0], rows, wanted, targets):
            results().print(part)
    if alarms is not None:
        results().print(("\n" if designs else "") + _sentence(alarms))


def _row(design: "Design", wanted: float, targets: int | None) -> dict[str, Any]:
    from auditor.report.power import simulated_power, targets_needed

    if targets is not None:
        return _figures(design, targets, simulated_power(design, targets))
    needed = targets_needed(design, wanted)
    found = _figures(design, needed.targets, needed.power)
    return {**found, "targets_closed_form": round(needed.closed_form, 1)}


def _figures(design: "Design", targets: int | None, reached: "Power | None") -> dict[str, Any]:
    sides = 1 if design.paired else 2
    return {
        "trials": design.trials,
        "targets": targets,
        "targets_in_all": None if targets is None else sides * targets,
        "audits": None if targets is None else 2 * targets * design.trials,
        "power": None if reached is None else reached.power,
        "power_low": None if reached is None else reached.low,
        "power_high": None if reached is None else reached.high,
    }


def _alarms(false_alarm: float | None, clean: int | None) -> dict[str, Any] | None:
    from auditor.report.power import clean_needed, false_alarm_bound
    from auditor.report.statistics import CONFIDENCE

    if false_alarm is None and clean is None:
        return None
    return {
        "confidence": CONFIDENCE,
        "clean": clean,
        "bound": None if clean is None else false_alarm_bound(clean),
        "false_alarm": false_alarm,
        "clean_needed": None if false_alarm is None else clean_needed(false_alarm),
    }


def _record(
    designs: "list[Design]",
    rows: list[dict[str, Any]],
    wanted: float,
    targets: int | None,
    alarms: dict[str, Any] | None,
) -> dict[str, Any]:
    from dataclasses import asdict

    separate = None
    if designs:
        asked = {name: value for name, value in asdict(designs[0]).items() if name != "trials"}
        separate = {**asked, "wanted": None if targets is not None else wanted, "rows": rows}
    return {"separate": separate, "false_alarms": alarms}


def _block(
    design: "Design", rows: list[dict[str, Any]], wanted: float, targets: int | None
) -> "list[RenderableType]":
    from rich.table import Table

    from auditor.report.cells import DASH, percent_interval
    from auditor.report.power import MAX_TARGETS

    low, high = sorted(design.rates)
    each = "" if design.paired else " in each row"
    difference = f"tell {_percent(high)} from {_percent(low)}"
    if targets is None:
        title = f"Targets needed{each} to {difference} with a power of {_percent(wanted)}"
    else:
        title = f"Power to {difference} with {targets} targets{each}"
    who = "same targets in both rows" if design.paired else "different targets in each row"
    pairing = f", correlation {design.correlation:g}" if design.correlation else ""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for name in ("trials per target", "targets", "audits in both rows", "power"):
        table.add_column(name, justify="right", header_style="bold")
    for row in rows:
        too_many = row["targets"] is None
        table.add_row(
            str(row["trials"]),
            f"> {MAX_TARGETS}" if too_many else str(row["targets"]),
            DASH if too_many else f"{row['audits']:,}",
            percent_interval(row["power"], row["power_low"], row["power_high"]),
        )
    how = f"({who}, icc {design.icc:g}{pairing}, two-sided test at {_percent(design.alpha)})"
    return [title, how, "", table]


def _sentence(alarms: dict[str, Any]) -> str:
    clean, needed, goal = alarms["clean"], alarms["clean_needed"], alarms["false_alarm"]
    shown = clean if clean is not None else needed
    bound = alarms["bound"] if clean is not None else goal
    said = (
        f"No false alarm on {shown} clean target{'s' if shown != 1 else ''} means, with "
        f"{_percent(alarms['confidence'])} confidence, a rate of at most {_percent(bound)}."
    )
    if clean is None or needed is None:
        return said
    if needed <= clean:
        return f"{said} For {_percent(goal)}, {needed} would do."
    return f"{said} For {_percent(goal)} it takes {needed}: {needed - clean} more."


def _percent(rate: float) -> str:
    return f"{100 * rate:.3g} %"
