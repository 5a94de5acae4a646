"""The Typer application: which commands there are, and what an error looks like to a shell."""

import sys
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from auditor.cli.aggregate import aggregate
from auditor.cli.browse import browse
from auditor.cli.calibrate import calibrate
from auditor.cli.check import check
from auditor.cli.doctor import doctor
from auditor.cli.exits import INTERRUPTED, OK, SOME_ERRORED, STOPPED, USAGE
from auditor.cli.export import export
from auditor.cli.fsck import fsck
from auditor.cli.judge import judge
from auditor.cli.nla import nla
from auditor.cli.plot import plot
from auditor.cli.power import power
from auditor.cli.report import report
from auditor.cli.resume import resume
from auditor.cli.run import run
from auditor.cli.runs import list_command, reindex
from auditor.cli.schema import schema
from auditor.cli.show import show
from auditor.cli.stats import stats
from auditor.cli.table import table
from auditor.cli.tools import tools
from auditor.errors import RunError, RunStoppedError, UsageError
from auditor.report.text import clean

_MISUSE = cast(type[typer.BadParameter], typer.BadParameter.__bases__[0])
"""What Typer raises for any mistake on the command line; it exports only this one kind."""

app = typer.Typer(
    name="auditor",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"auditor {version('auditor')}")
        except PackageNotFoundError:
            typer.echo("auditor (not installed)")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Audit language models for hidden motives, and learn how far each verdict can be trusted.

    Start with `auditor run sandbox`.
    """


app.command("run")(run)
app.command("resume")(resume)
app.command("show")(show)
app.command("browse")(browse)
app.command("table")(table)
app.command("plot")(plot)
app.command("report")(report)
app.command("export")(export)
app.command("stats")(stats)
app.command("aggregate")(aggregate)
app.command("calibrate")(calibrate)
app.command("power")(power)
app.command("list")(list_command)
app.command("check")(check)
app.command("doctor")(doctor)
app.command("schema")(schema)
app.command("tools")(tools)
app.command("fsck")(fsck)
app.command("reindex")(reindex)
app.add_typer(judge, name="judge")
app.add_typer(nla, name="nla")


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    Exit codes: 0 when all went well, whatever the verdicts; 1 when some trial errored or a file
    could not be read or written; 2 when the command or a scenario is wrong; 3 when a limit of the
    run as a whole was reached, or a model's server gave no reply to anybody; 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not UTF-8 gets question marks, not a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        # Otherwise Typer draws a box around mistakes, with the usage above it.
        sys.exit(app(args=None if args is None else list(args), standalone_mode=False) or OK)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    except _MISUSE as error:
        sys.exit(_misused(error))
    except UsageError as error:
        _complain(error)
        sys.exit(USAGE)
    except RunStoppedError as error:
        _complain(error)
        sys.exit(STOPPED)
    except RunError as error:
        _complain(error)
        sys.exit(SOME_ERRORED)


def _misused(error: typer.BadParameter) -> int:
    """Say in one line what is wrong with the command line."""
    said = " ".join(error.format_message().split())
    if said:  # otherwise no words were given, and the help was the answer
        where = error.ctx.command_path if error.ctx is not None else "auditor"
        typer.echo(f"{clean(said).rstrip('.')}; see `{where} --help`", err=True)
    return USAGE


def _complain(error: Exception) -> None:
    for line in clean(str(error)).splitlines() or [type(error).__name__]:
        typer.echo(line, err=True)
