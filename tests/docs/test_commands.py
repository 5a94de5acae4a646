"""Every command that a page shows is one that the command lines know, options and all."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from auditor.cli.app import app
from scenarios.sandbox.__main__ import app as sandbox

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GROUPS = {"auditor": app, "python -m scenarios.sandbox": sandbox}
# What another package, or a program without a Typer command, takes; its file must be there.
OTHERS = ("make", "source", "export", "python", "accelerate", "inspect", "pip", "pytest", "ray",
          "curl", "vllm", "apt-get", "hf", "huggingface-cli", "git", "cd",
          "uv")  # fmt: skip


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in re.findall(r"```(?:console|bash|sh)\n(.*?)```", page.read_text("utf-8"), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                line = line.strip().removeprefix("$ ")
                if line and not line.startswith("#"):
                    yield page.name, line


def parse(group: typer.Typer, words: list[str]) -> None:
    """Let the command line take the words apart, without doing anything.

    Raises:
        Exception: When there is no such command or option, or an argument too many.
    """
    command: Any = typer.main.get_command(group)
    name = "command line"
    while hasattr(command, "commands"):
        if name == "judge" and words[0] not in command.commands:
            words = ["score", *words]
        name, *words = words
        command = command.commands[name]
    context = command.context_class(command, info_name=name)
    _, left, _ = command.make_parser(context).parse_args(words)
    assert not left, f"too many arguments: {left}"


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_a_command_of_a_page_is_one_that_exists(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    if ">" in words:
        words = words[: words.index(">")]
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    text = " ".join(words)
    for start, group in GROUPS.items():
        if text == start or text.startswith(f"{start} "):
            parse(group, words[len(start.split()) :])
            return
    assert words[0] in OTHERS, f"{page}: {line}"
    for word in words:
        if word.endswith(".py") and word.startswith(("benchmarks/", "docs/", "tests/")):
            assert (ROOT / word).is_file(), word
