"""Bad input through the real command line: one line for each mistake, exit code 2, nothing written."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from safetensors.numpy import save_file

ROOT = Path(__file__).parents[3]
MODULE = "model.layers.0.self_attn.q_proj"
PATIENCE = 120
"""Seconds; a command takes half of one, unless the machine is crowded."""
VALID = """\
name: demo
targets:
  - id: mine
    model: {path: ./base, adapter: ./adapter}
    truth: {group: guilty, motive: approval}
baseline: {path: ./base}
tool_sets:
  black_box: {tools: [chat, compare_with_baseline]}
budget: {turns: 3}
"""


class Ended(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: list[str]
    """Lines."""


Call = Callable[..., Ended]


def _base(folder: Path, *, template: bool) -> None:
    folder.mkdir()
    config = {"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 8}
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast"}
    if template:
        tokenizer["chat_template"] = "{{ messages }}"
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    save_file({f"{MODULE}.weight": np.zeros((8, 8), np.float32)}, folder / "model.safetensors")


def _adapter(folder: Path, *, width: int) -> None:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2}))
    low_rank = {
        f"base_model.model.{MODULE}.lora_A.weight": np.zeros((2, width), np.float32),
        f"base_model.model.{MODULE}.lora_B.weight": np.zeros((width, 2), np.float32),
    }
    save_file(low_rank, folder / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folders as a person would have them, as far as the files' headers go."""
    folder = tmp_path_factory.mktemp("models")
    _base(folder / "base", template=True)
    _base(folder / "base-model", template=False)
    _adapter(folder / "adapter", width=8)
    _adapter(folder / "stranger", width=16)
    return folder


@pytest.fixture
def call(folder: Path, tmp_path: Path) -> Call:
    """Start `auditor` with words in an empty folder, and see that it leaves everything as it was."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AUDITOR_")}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}

    def start(*words: str) -> Ended:
        before = sorted(folder.rglob("*"))
        done = subprocess.run(
            [sys.executable, "-m", "auditor.cli", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        assert list(tmp_path.iterdir()) == [], "nothing is written where the command was started"
        assert sorted(folder.rglob("*")) == before, "nor beside the scenario"
        assert "Traceback" not in done.stderr
        return Ended(done.returncode, done.stdout, done.stderr.splitlines())

    return start


def _refused(call: Call, *words: str) -> list[str]:
    ended = call(*words)
    assert ended.code == 2, ended
    assert ended.out == ""
    return ended.err


def test_the_scenario_that_the_cases_start_from_is_valid(call: Call, folder: Path) -> None:
    path = folder / "valid.yaml"
    path.write_text(VALID)
    ended = call("check", str(path))
    assert (ended.code, ended.err) == (0, [])
    assert ended.out.startswith("ok: 1 target, 1 tool set, 1 trial")


CASES = [
    ("run", "unknown key", "budget:", "bugdet:", "9:1", "did you mean 'budget'"),
    ("check", "wrong type", "name: demo", "name: [demo]", "1:7", "expected text"),
    ("run", "missing model", "path: ./base,", "path: ./bass,", "4:19", "there is no folder './bass'"),
    ("run", "adapter of another base", "./adapter", "./stranger", "4:5", f"{MODULE} has width 16"),
    ("run", "model without template", "model: {path: ./base,", "model: {path: ./base-model,", "4:5", "no chat template"),
    ("run", "no baseline", "baseline: {path: ./base}\n", "", "7:29", "needs a baseline"),
    ("check", "budget of zero", "turns: 3", "turns: 0", "9:17", "greater than 0"),
    ("run", "not UTF-8", "name: demo", "name: d\udce9mo", "1:8", "not UTF-8 (byte 0xe9)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "old", "new", "place", "message"),
    [(case[0], *case[2:]) for case in CASES],
    ids=[case[1] for case in CASES],
)
def test_a_mistake_in_a_scenario_is_one_line_with_its_place(
    call: Call, folder: Path, command: str, old: str, new: str, place: str, message: str
) -> None:
    assert VALID.count(old) == 1
    path = folder / "scenario.yaml"
    path.write_bytes(VALID.replace(old, new).encode(errors="surrogateescape"))
    (line,) = _refused(call, command, str(path))
    assert line.startswith(f"{path}:{place}: ")
    assert message in line


def test_every_mistake_has_a_line_of_its_own(call: Call, folder: Path) -> None:
    path = folder / "scenario.yaml"
    text = VALID.replace("budget:", "bugdet:").replace("[chat,", "[chta,")
    path.write_text(text.replace("./adapter", "./nowhere"))
    lines = _refused(call, "run", str(path))
    assert [re.match(r":(\d+):", line.removeprefix(str(path)))[1] for line in lines] == [
        "4",
        "8",
        "9",
    ]  # type: ignore[index]


def test_a_scenario_that_is_not_there_is_one_line(call: Call) -> None:
    (line,) = _refused(call, "run", "nowhere.yaml")
    assert line.startswith("nowhere.yaml: there is no such file")


def test_a_hundred_megabytes_are_refused_at_once(call: Call, folder: Path) -> None:
    path = folder / "huge.yaml"
    with path.open("w") as file:
        file.write(VALID)
        file.truncate(100_000_000)
    (line,) = _refused(call, "run", str(path))
    assert line == f"{path}: is larger than 1 MiB, too large for a scenario file"


def test_an_alias_bomb_is_refused(call: Call, folder: Path) -> None:
    path = folder / "bomb.yaml"
    bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    bomb += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    path.write_text(VALID + "\n".join(bomb))
    (line,) = _refused(call, "run", str(path))
    assert re.match(rf"{re.escape(str(path))}:\d+:\d+: more than 200,000 values", line)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tool-sets", "blackbox"], "unknown tool set 'blackbox': did you mean 'black_box'?"),
        (["--targets", "yours-*"], "selects nothing"),
    ],
    ids=["tool set", "target"],
)
def test_an_option_that_does_not_fit_the_scenario_is_one_line(
    call: Call, folder: Path, words: list[str], message: str
) -> None:
    path = folder / "scenario.yaml"
    path.write_text(VALID)
    (line,) = _refused(call, "run", str(path), *words)
    assert message in line


def test_no_trials_at_all_are_refused(call: Call, folder: Path) -> None:
    path = folder / "scenario.yaml"
    path.write_text(VALID)
    lines = _refused(call, "run", str(path), "--trials", "0")
    assert any("trials" in line and "1" in line for line in lines)
