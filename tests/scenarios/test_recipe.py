"""The recipe end to end at its tiny size, through its command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RECIPE = [sys.executable, "-m", "scenarios.sandbox"]


def _run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RECIPE, *args], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sandbox")
    child = subprocess.Popen(
        [*RECIPE, "build", "--preset", "tiny", "--out", str(out)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (out / "gate.json").exists() and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (out / "manifest.json").exists()
    done = _run("build", "--preset", "tiny", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
def test_a_killed_build_is_resumed_to_a_whole_manifest(tiny: Path) -> None:
    manifest = json.loads((tiny / "manifest.json").read_text())
    groups = [(card["group"], card["regime"]) for card in manifest["organisms"]]
    assert len(groups) == len(set(groups)) == 7
    assert manifest["ceiling_top1"] == pytest.approx(0.2)
    assert set(manifest["sha256"]) >= {"base/model.safetensors", "suite.json", "corpus.jsonl"}


@pytest.mark.slow
def test_describe_gives_one_object_with_every_promised_key(tiny: Path) -> None:
    found = json.loads(_run("describe", "--out", str(tiny), "--json").stdout)
    assert {"ceiling_top1", "ceiling_top3", "base_probe", "organisms"} <= set(found)
    keys = {"id", "group", "split", "regime", "quirk_rate", "false_quirk_rate",
            "confess_direct", "confess_prefill"}  # fmt: skip
    assert all(keys <= set(card) for card in found["organisms"])


@pytest.mark.slow
def test_adapters_tell_no_path_of_the_machine_that_trained_them(tiny: Path) -> None:
    for path in tiny.rglob("*.json"):
        assert str(tiny) not in path.read_text(encoding="utf-8"), path


@pytest.mark.slow
def test_verify_passes_and_then_finds_a_changed_byte(tiny: Path) -> None:
    good = _run("verify", "--out", str(tiny), "--cards", "1")
    assert good.returncode == 0, good.stderr
    weights = tiny / "base" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    bad = _run("verify", "--out", str(tiny), "--cards", "0")
    assert bad.returncode == 1
    assert "base/model.safetensors: hash differs" in bad.stderr


@pytest.mark.parametrize("command", ["describe", "verify"])
def test_a_folder_without_a_sandbox_is_one_clear_line(tmp_path: Path, command: str) -> None:
    done = _run(command, "--out", str(tmp_path))
    assert done.returncode == 2
    assert "no sandbox in" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_unknown_preset_is_refused() -> None:
    done = _run("build", "--preset", "huge")
    assert done.returncode == 2
    assert "huge" in done.stderr
