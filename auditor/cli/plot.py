"""`auditor plot`: pictures of stored runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from auditor.cli.options import RUNS_DIR, RunsDir
from auditor.errors import UsageError

if TYPE_CHECKING:
    from auditor.records import TrialSummary
    from auditor.report.heads import HeadsCurve
    from auditor.report.plot_panels import Named
    from auditor.report.plot_style import Picture
    from auditor.report.rows import Row

Kind = Literal["rates", "harder", "roc", "reliability", "heads", "tokens", "all"]
Format = Literal["svg", "png"]

T = TypeVar("T")

HELD_OUT = "held-out"

Runs = Annotated[list[str], typer.Argument(help="Names of runs, their folders, or `last`.")]
Out = Annotated[Path, typer.Option(help="Folder for the pictures; made when missing.")]
KindOption = Annotated[
    Kind,
    typer.Option(
        help="rates: success and false alarms of each row. harder: success by regime. roc: "
        "detection against false alarms. reliability: whether confidence can be believed. heads: "
        "success against the number of trials. tokens: success against tokens, of several runs. "
        "all: whatever the runs have the figures for."
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="Split of the targets to show, or `all`. By default held-out where there is one, "
        "otherwise all."
    ),
]
FormatOption = Annotated[
    Format, typer.Option("--format", help="Kind of file: svg scales, png is of twice 700 pixels.")
]
HeadsFile = Annotated[
    Path | None,
    typer.Option(help="What `auditor aggregate RUN --out FILE` wrote; heads is drawn from it."),
]


def plot(
    runs: Runs,
    *,
    out: Out,
    kind: KindOption = "all",
    split: Split = None,
    form: FormatOption = "svg",
    heads: HeadsFile = None,
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """Draw pictures of stored runs, and print the names of the files.

    The same runs give the same files, byte for byte. Needs matplotlib, which comes with the extra
    `plots` of this package.
    """
    from auditor.cli.find import find_run
    from auditor.report.plot_style import save, styled

    with styled():  # Refuse before work when matplotlib is missing.
        pass
    folders = list(dict.fromkeys(find_run(run, runs_dir) for run in runs))
    stored = Stored.load(folders, split=split, heads=heads)
    for picture in _pictures(stored, kind):
        typer.echo(str(save(picture, out, form)))


def _pictures(stored: "Stored", kind: Kind) -> "list[Picture]":
    if kind != "all":
        return [_MAKERS[kind](stored)]
    found = []
    for name, make in _MAKERS.items():
        try:
            found.append(make(stored))
        except NothingToShowError as why:
            typer.echo(f"not drawn: {name}: {why}", err=True)
    if not found:
        raise NothingToShowError(f"there is nothing to draw of {stored.names} yet")
    return found


class NothingToShowError(UsageError):
    """The runs do not have the figures for a picture."""


@dataclass(frozen=True)
class Stored:
    """Stored runs, and what of them is to be shown."""

    names: str
    trials: "Sequence[TrialSummary]"
    rows: "Sequence[Row]"
    """Rows of the split that have a scored trial, of every regime and of all together."""
    split: str
    heads: Path | None = None

    @classmethod
    def load(
        cls, folders: Sequence[Path], *, split: str | None = None, heads: Path | None = None
    ) -> "Stored":
        """Read runs.

        Raises:
            UsageError: When no trial is of the split, or none of its trials has been scored.
            RunError: When a file cannot be read.
        """
        from auditor.cli.table import rows_of
        from auditor.report.rows import ALL
        from auditor.run.store import load_summaries

        names = ", ".join(folder.name for folder in folders)
        trials = [trial for folder in folders for trial in load_summaries(folder)]
        known = sorted({trial.split for trial in trials if trial.split is not None})
        chosen = split or (HELD_OUT if HELD_OUT in known else ALL)
        if chosen not in (ALL, *known):
            there = " or ".join([*known, ALL])
            raise UsageError(f"no trial of {names} is of split {chosen!r}; choose {there}")
        rows = [row for row in rows_of(folders) if row.split == chosen and _is_scored(row)]
        if not rows:
            raise NothingToShowError(f"no trial of {names} has been scored yet")
        return cls(names, trials, rows, chosen, heads)

    @property
    def whole(self) -> "list[Row]":
        """Rows of all regimes together."""
        from auditor.report.rows import ALL

        return [row for row in self.rows if row.regime == ALL]

    def named(self, measure: "Callable[[list[TrialSummary]], T | None]") -> "list[Named[T]]":
        """Measure the trials behind each row; rows without a measure are left out."""
        from auditor.report.plot_panels import Named
        from auditor.report.plots import is_null, label

        measured = [(row, measure(self._behind(row))) for row in self.whole]
        return [
            Named(label(row, self.whole), is_null(row), value)
            for row, value in measured
            if value is not None
        ]

    def _behind(self, row: "Row") -> "list[TrialSummary]":
        """Trials of a row, with the innocent ones without a split, which belong to each."""
        from auditor.report.rows import ALL

        return [
            trial
            for trial in self.trials
            if (trial.key.run, trial.key.tool_set) == (row.run, row.tool_set)
            and (
                self.split in (ALL, trial.split)
                or (trial.split is None and trial.group in ("clean", "decoy"))
            )
        ]


def _is_scored(row: "Row") -> bool:
    return bool(row.n_guilty or row.n_clean or row.n_decoy)


def _rates(stored: Stored) -> "Picture":
    from auditor.report.plots import rates

    return rates(stored.whole)


def _harder(stored: Stored) -> "Picture":
    from auditor.report.plots import harder
    from auditor.report.rows import ALL

    rows = [row for row in stored.rows if row.regime != ALL and row.n_guilty]
    if not rows:
        raise NothingToShowError(f"no scored guilty target of {stored.names} has a regime")
    return harder(rows)


def _roc(stored: Stored) -> "Picture":
    from auditor.report.detection import detection
    from auditor.report.plot_confidence import roc

    found = stored.named(detection)
    if not found:
        raise NothingToShowError(
            f"no row of {stored.names} states its confidence on guilty and on innocent targets"
        )
    return roc(found, split=stored.split)


def _reliability(stored: Stored) -> "Picture":
    from auditor.report.calibration import calibration
    from auditor.report.plot_confidence import reliability

    found = stored.named(calibration)
    if not found:
        raise NothingToShowError(f"no row of {stored.names} states its confidence")
    return reliability(found, split=stored.split)


def _tokens(stored: Stored) -> "Picture":
    from auditor.report.plot_curves import tokens, tokens_of

    rows = [row for row in stored.whole if tokens_of(row) is not None]
    if len({row.run for row in rows}) < 2:
        raise NothingToShowError(
            "success against tokens needs two runs or more, of different budgets; name them all"
        )
    return tokens(rows)


def _heads(stored: Stored) -> "Picture":
    from auditor.report.plot_curves import heads
    from auditor.report.plot_panels import Named
    from auditor.report.plots import is_null, label

    if stored.heads is None:
        raise NothingToShowError(
            "write the figures with `auditor aggregate RUN --out FILE`, then give --heads FILE"
        )
    curves = {
        (curve.run, curve.tool_set): curve
        for curve in _curves(stored.heads)
        if curve.points and curve.split == stored.split
    }
    found = [
        Named(label(row, stored.whole), is_null(row), curves[row.run, row.tool_set])
        for row in stored.whole
        if (row.run, row.tool_set) in curves
    ]
    if not found:
        raise NothingToShowError(
            f"{stored.heads} has no curve of {stored.names} on the split {stored.split!r}"
        )
    return heads(found)


def _curves(path: Path) -> "list[HeadsCurve]":
    from pydantic import ValidationError

    from auditor.report.heads import HeadsCurve

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"cannot read {path}: {why}") from error
    try:
        return [HeadsCurve.model_validate_json(line) for line in lines if line.strip()]
    except ValidationError as error:
        raise UsageError(
            f"{path} does not hold curves; write it with `auditor aggregate RUN --out {path}`"
        ) from error


_MAKERS: dict[str, Callable[[Stored], "Picture"]] = {
    "rates": _rates,
    "harder": _harder,
    "roc": _roc,
    "reliability": _reliability,
    "heads": _heads,
    "tokens": _tokens,
}
