"""The reference of the command line, `docs/cli.md`, made from the commands themselves.

Write it with `python -m auditor.cli.reference > docs/cli.md`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from typer.models import OptionInfo

from auditor.cli.app import app

_HEAD = """\
# Command line

Made by `python -m auditor.cli.reference > docs/cli.md`; edit the commands, not this file.

{about}

Results go to standard output, everything meant for watching to standard error. `NO_COLOR` is
respected, and `AUDITOR_RUNS_DIR` names the folder of runs where `--runs-dir` is not given.

| exit code | meaning |
|---|---|
| 0 | all went well, whatever the verdicts |
| 1 | some trial errored, or a file could not be read or written |
| 2 | the command line or a scenario is wrong; nothing was written |
| 3 | a limit of the run is reached, or a model's server is away; standard error says how to go on |
| 130 | interrupted with Ctrl-C; `auditor resume` goes on |
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An argument or option of a command."""

    name: str
    """Name in the function's signature."""
    is_option: bool
    words: tuple[str, ...]
    """What is typed, long form first; for options."""
    kind: Any
    """Type of the value."""
    help: str
    required: bool
    default: Any
    metavar: str | None = None
    """What stands for the value, where its type does not say it."""


def cli_reference() -> str:
    """Return the reference of every command, argument and option as Markdown."""
    about = app.registered_callback.callback.__doc__ if app.registered_callback else None
    parts = [_HEAD.format(about=_prose(about))]
    for command in app.registered_commands:
        if command.name and command.callback:
            parts.append(_command(command.name, command.callback))
    for group in app.registered_groups:
        for command in group.typer_instance.registered_commands if group.typer_instance else ():
            if command.name and command.callback:
                parts.append(_command(f"{group.name} {command.name}", command.callback))
    return "\n".join(parts)


def parameters_of(callback: Callable[..., Any]) -> list[Parameter]:
    """Return a command's arguments and options, in the order of its signature."""
    hints = get_type_hints(callback, include_extras=True)
    found = []
    for name, parameter in inspect.signature(callback).parameters.items():
        if get_origin(hints[name]) is not Annotated:
            continue
        kind, info = get_args(hints[name])[:2]
        # Inside `Annotated`, Typer keeps the first spelling where a default would be.
        spelt = [info.default, *(info.param_decls or ())]
        words = [
            word
            for both in spelt
            if isinstance(both, str) and both.startswith("-")
            for word in both.split("/")
        ]
        required = parameter.default is inspect.Parameter.empty
        found.append(
            Parameter(
                name=name,
                is_option=isinstance(info, OptionInfo),
                words=tuple(words) or (f"--{name.replace('_', '-')}",),
                kind=kind,
                help=info.help or "",
                required=required,
                default=None if required else parameter.default,
                metavar=info.metavar,
            )
        )
    return found


def _command(name: str, callback: Callable[..., Any]) -> str:
    parameters = parameters_of(callback)
    arguments = [one for one in parameters if not one.is_option]
    options = [one for one in parameters if one.is_option]
    words = ["auditor", name, *(["[OPTIONS]"] if options else []), *map(_usage, arguments)]
    lines = [f"## auditor {name}", "", _prose(callback.__doc__), "", f"    {' '.join(words)}", ""]
    for title, some in (("argument", arguments), ("option", options)):
        if some:
            lines += [f"| {title} | meaning |", "|---|---|", *map(_row, some), ""]
    return "\n".join(lines)


def _usage(argument: Parameter) -> str:
    word = argument.name.upper() + ("..." if get_origin(argument.kind) is list else "")
    return word if argument.required else f"[{word}]"


def _row(parameter: Parameter) -> str:
    if parameter.is_option:
        value = f" {parameter.metavar}" if parameter.metavar else _value(parameter.kind)
        label = ", ".join(f"`{word}{value}`" for word in parameter.words)
    else:
        label = f"`{_usage(parameter)}`"
    default = parameter.default
    meaning = _prose(parameter.help)
    if parameter.is_option and parameter.required:
        meaning += " Required."
    if default is not None and default is not False:
        meaning += f" Default: `{default}`."
    cells = (cell.replace("|", "\\|") for cell in (label, meaning))
    return f"| {' | '.join(cells)} |"


def _value(kind: Any) -> str:
    """Return what follows an option of this type, with a space before it; "" for a switch."""
    if kind is bool:
        return ""
    if get_origin(kind) is Literal:
        return " " + "|".join(get_args(kind))
    if get_origin(kind) is tuple:
        return "".join(map(_value, get_args(kind)))
    parts = [part for part in get_args(kind) if part is not type(None)]
    if parts and get_args(parts[0]):
        return _value(parts[0])
    plain = parts[0] if parts else kind
    return " " + {int: "NUMBER", float: "NUMBER", Path: "FOLDER"}.get(plain, "TEXT")


def _prose(text: str | None) -> str:
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


if __name__ == "__main__":
    import sys

    sys.stdout.write(cli_reference())
