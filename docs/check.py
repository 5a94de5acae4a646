"""Runs the commands that a newcomer is shown, in a folder of its own; `make docs-check`.

Those of the README's "Using it" and of `getting-started.md`, one after the other, as they stand.
What needs a key, a terminal or hours is left out and named. Every other command of the docs is
held against the command lines by `tests/docs/test_commands.py`.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (("README.md", "Using it"), ("docs/getting-started.md", None))
LEFT_OUT = {
    "make": "it is what installed this",
    "source": "it is what installed this",
    "browse": "it needs a terminal",
    "judge": "it needs a key",
}


def commands(page: str, section: str | None) -> Iterator[str]:
    """Yield the commands of a page, or of one of its sections."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if section is not None:
        text = re.split(rf"^## {section}$", text, flags=re.MULTILINE)[1].split("\n## ")[0]
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        yield from filter(None, (line.strip() for line in block.splitlines()))


def why_not(words: list[str]) -> str | None:
    """Say why a command is not run, if it is not."""
    return next((why for word, why in LEFT_OUT.items() if word in words[:2]), None)


def run(line: str, folder: Path) -> int:
    """Run one command; returns its exit code."""
    tools = Path(sys.executable).parent
    paths = [str(tools), os.environ.get("PATH", "")]
    environment = {**os.environ, "PATH": os.pathsep.join(paths), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, shell=True, cwd=folder, env=environment, capture_output=True)
    if done.returncode:
        sys.stdout.write(done.stderr.decode(errors="replace")[-2000:])
    return done.returncode


def main() -> int:
    """Run all; returns how many failed, at most 1."""
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scenarios").symlink_to(ROOT / "scenarios")
        text = (ROOT / "scenarios" / "sandbox-one.yaml").read_text(encoding="utf-8")
        (folder / "scenario.yaml").write_text(
            text.replace("sandbox/weights", "scenarios/sandbox/weights")
        )
        for page, section in PAGES:
            for line in commands(page, section):
                why = why_not(shlex.split(line, comments=True))
                code = 0 if why else run(line, folder)
                # Something may be missing here, and the doctor's answer is then 1.
                ok = code == 0 or (code == 1 and line.startswith("auditor doctor"))
                failed += not ok
                print(f"{'left out' if why else 'ok' if ok else f'exit {code}':9} {line}"
                      + (f" ({why})" if why else ""), flush=True)  # fmt: skip
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
