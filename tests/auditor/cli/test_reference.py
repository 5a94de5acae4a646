"""Every command, argument and option has help, and the reference in docs/ is up to date."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditor.cli import app
from auditor.cli.reference import cli_reference, parameters_of

ROOT = Path(__file__).parents[3]
COMMANDS: dict[str, Callable[..., Any]] = {
    command.name: command.callback
    for command in app.registered_commands
    if command.name and command.callback
}


def test_the_reference_is_up_to_date() -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == cli_reference(), "run `python -m auditor.cli.reference > docs/cli.md`"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_parameter_has_help(name: str) -> None:
    callback = COMMANDS[name]
    assert callback.__doc__
    assert all(parameter.help.endswith((".", "!", "?")) for parameter in parameters_of(callback))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_names_its_options(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "auditor.cli", name, "--help"],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0
    assert ended.stderr == ""
    for parameter in parameters_of(COMMANDS[name]):
        if parameter.is_option:
            assert parameter.words[0] in ended.stdout


def test_the_reference_names_every_option() -> None:
    text = cli_reference()
    for name, callback in COMMANDS.items():
        section = text.split(f"## auditor {name}\n")[1].split("\n## ")[0]
        for parameter in parameters_of(callback):
            words = parameter.words if parameter.is_option else (parameter.name.upper(),)
            assert all(word in section for word in words)
