"""Every command, argument and option has help, and the reference in docs/ is up to date."""

import re
import shlex
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


def commands_of(page: Path) -> list[list[str]]:
    """Return the `auditor` commands of a page's console blocks, continued lines joined."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [found[found.index("auditor") + 1 :] for found in words if "auditor" in found[:2]]


@pytest.mark.parametrize("page", ["README.md", "docs/reading.md"])
def test_commands_of_the_docs_have_the_options_that_they_are_given(page: str) -> None:
    found = commands_of(ROOT / page)
    assert found
    groups = {group.name for group in app.registered_groups}
    for name, *words in found:
        if name in groups:
            continue
        known = {word for one in parameters_of(COMMANDS[name]) for word in one.words}
        given = {word for word in words if word.startswith("--")}
        assert given <= known, f"auditor {name} {' '.join(words)}"
