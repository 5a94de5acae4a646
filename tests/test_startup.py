"""The command line starts without the libraries that only an audit needs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "peft", "langgraph", "anthropic", "ray", "numpy", "scipy",
         "tokenizers", "safetensors", "bm25s", "sqlite_utils", "openai", "httpx2", "genai_prices",
         "jinja2", "textual", "pyarrow")  # fmt: skip
PROBE = """
import atexit, json, sys
def tell():
    print("\\n" + json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
atexit.register(tell)
from auditor.cli import main
main(sys.argv[1:])
"""


def loaded_by(*words: str, cwd: Path) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-c", PROBE, *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return set(json.loads(ended.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("run", "--help"),
        ("show", "--help"),
        ("report", "--help"),
        ("schema",),
        ("list",),
    ],
)
def test_nothing_heavy_is_imported(words: tuple[str, ...], tmp_path: Path) -> None:
    loaded = loaded_by(*words, cwd=tmp_path)
    assert "typer" in loaded
    assert not loaded & set(HEAVY)


def test_the_probe_sees_what_is_imported(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "sitecustomize.py").write_text("import torch")
    ended = subprocess.run(
        [sys.executable, "-c", PROBE, "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""},
        timeout=60,
        check=False,
    )
    assert "torch" in json.loads(ended.stdout.splitlines()[-1])
