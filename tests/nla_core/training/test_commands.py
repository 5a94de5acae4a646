"""Whole trainings through the command line: killed, in two processes, and to the card."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nla_core.card import Card
from nla_core.pair import load_pair
from nla_core.training.__main__ import main
from nla_core.training.config import load_recipe
from nla_core.training.dataset import Dataset
from nla_core.training.progress import read_metrics
from nla_core.training.rewriting import REWRITES
from nla_core.training.run import Training

ROOT = Path(__file__).parents[3]
TINY = ROOT / "scenarios" / "sandbox" / "nla" / "tiny.yaml"
SHARDED = Path(__file__).with_name("sharded_on_cpu.py")
COMMAND = [sys.executable, "-m", "nla_core.training"]
# `--cpu` would leave the starting of processes to MPI; this starts them wherever they compute.
SPREAD = ["--multi_gpu"]
SHARD = [
    "--use_fsdp", "--fsdp_version", "2", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP",
    "--fsdp_cpu_ram_efficient_loading", "false",
]  # fmt: skip
LAUNCH = [
    sys.executable, "-m", "accelerate.commands.launch", "--num_machines", "1", "--num_processes",
    "2", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
]  # fmt: skip
Write = Callable[[dict[str, Any]], Path]

# Other work on the machine may make each of these many times slower.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def curve(folder: Path, name: str = "metrics") -> list[dict[str, Any]]:
    rows = read_metrics(folder / f"{name}.jsonl")
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def same(found: list[dict[str, Any]], expected: list[dict[str, Any]], tolerance: float) -> None:
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for after, before in zip(found, expected, strict=True):
        assert after == pytest.approx(before, abs=tolerance, nan_ok=True)


def alike(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Compare curves of the same training whose sums were rounded elsewhere.

    Adam divides by the size of each gradient, so that one which is all but zero turns its rounding
    into a whole step: the first row, before any step, must be equal, and later ones near.
    """
    same(found[:1], expected[:1], 1e-3)
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for after, before in zip(found[1:], expected[1:], strict=True):
        assert after.keys() == before.keys()
        for name, value in before.items():
            near = value if value is None else pytest.approx(value, rel=0.05, abs=0.02, nan_ok=True)
            assert after[name] == near, name


def assert_near(ours: Path, theirs: Path) -> None:
    """Weights differ by far less than steps move them."""
    found, expected = (load_file(folder / "model.safetensors") for folder in (ours, theirs))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert float((found[key] - value).norm()) <= 0.01 * float(value.norm()), key


def kill_when(arguments: list[str], metrics: Path, step: int) -> None:
    """Start a training and kill it once it has logged a step."""
    with subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, env=environment()) as process:
        while not any(row["step"] >= step for row in read_metrics(metrics)):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def test_a_training_killed_twice_ends_as_an_unbroken_one(
    small: Any, fields: dict[str, Any], written: Write, tmp_path: Path
) -> None:
    fields["warm_start"]["av"] |= {"steps": 150, "save_every": 10}
    fields["reinforce"]["schedule"] |= {"steps": 24, "save_every": 5}
    recipe = str(written(fields))
    stages = [argument for stage in ("warm-av", "warm-ar", "reinforce") for argument in ("--stage", stage)]  # fmt: skip
    folders = {}
    for name in ("unbroken", "killed"):
        folders[name] = tmp_path / name
        copytree(small.activations, folders[name] / "activations")
    unbroken, killed = folders["unbroken"], folders["killed"]
    assert main([recipe, "--out", str(unbroken), *stages]) == 0

    arguments = [recipe, "--out", str(killed), *stages]
    kill_when(arguments, killed / "warm-av" / "metrics.jsonl", step=15)
    assert not (killed / "warm-av" / "done.json").exists()
    with (killed / "warm-av" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "lo')
    kill_when(arguments, killed / "reinforce" / "metrics.jsonl", step=7)
    assert not (killed / "reinforce" / "done.json").exists()
    assert main(arguments) == 0

    for stage in ("warm-av", "warm-ar", "reinforce"):
        same(curve(killed / stage), curve(unbroken / stage), 1e-5)
        assert not (killed / stage / "progress.safetensors").exists()
    same(curve(killed / "reinforce", "evaluations"), curve(unbroken / "reinforce", "evaluations"), 1e-4)  # fmt: skip
    for part in ("warm-av/av", "warm-ar/ar", "reinforce/av", "reinforce/ar"):
        found, expected = (load_file(folder / part / "model.safetensors") for folder in (killed, unbroken))  # fmt: skip
        assert found.keys() == expected.keys()
        assert all(torch.allclose(found[key], expected[key], atol=1e-5) for key in expected)
    # Nothing is left to do.
    before = (killed / "reinforce" / "done.json").stat().st_mtime_ns
    assert main(arguments) == 0
    assert (killed / "reinforce" / "done.json").stat().st_mtime_ns == before


def launched(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run something in two processes."""
    return subprocess.run(
        [*LAUNCH, *arguments],
        cwd=ROOT, env=environment() | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_two_processes_compute_what_one_does(
    explaining: Path, fields: dict[str, Any], written: Write, tmp_path: Path
) -> None:
    fields["warm_start"]["control_steps"] = 4
    recipe, one, two = str(written(fields)), tmp_path / "one", tmp_path / "two"
    assert main([recipe, "--out", str(one)]) == 0
    done = launched(*SPREAD, "-m", "nla_core.training", recipe, "--out", str(two))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("harvest: base-00000.parquet") == 1
    for stage in ("warm-av", "warm-ar", "control/true", "control/shuffled", "reinforce"):
        alike(curve(two / stage), curve(one / stage))
    assert [row["step"] for row in curve(two / "reinforce", "evaluations")] == [0, 3]
    card = Card.read(two / "pair")
    assert card.rows == Card.read(one / "pair").rows
    assert card.shuffled_label_gap is not None
    # Each denominator is that of the rows which its figures are measured on.
    held_out = Dataset.of(two / "activations", "heldout")
    for found, rows in ((card.rawvar_evaluated, held_out.last(8)), (card.rawvar_by_step, held_out.rows(0, 4))):  # fmt: skip
        units = torch.nn.functional.normalize(rows.vectors.double(), dim=1)
        assert found == pytest.approx(1 - float(units.mean(0).norm()) ** 2, abs=1e-6)
    # Unit vectors all about vary by one, less what so few of them have in common.
    assert card.rawvar_random_vectors == pytest.approx(1 - 1 / 8, abs=0.1)
    # Nobody grades this pair; rules rewrite its explanations all the same.
    assert card.paraphrase_fve.keys() == REWRITES.keys()
    assert all(value is not None for value in card.paraphrase_fve.values())
    load_pair(two / "pair" / "av", two / "pair" / "ar")
    for path in sorted((one / "activations").glob("*.parquet")):
        assert (two / "activations" / path.name).read_bytes() == path.read_bytes()
    assert not list(two.rglob("*.part"))

    # The same from a warm start that has learned to explain, so that rewards differ.
    found = tmp_path / "reinforced"
    where = ("--out", str(found), "--shared", str(explaining), "--stage", "reinforce")
    done = launched(*SPREAD, "-m", "nla_core.training", str(explaining / "recipe.yaml"), *where)
    assert done.returncode == 0, done.stderr
    as_one_process(found, explaining)


def as_one_process(found: Path, expected: Path) -> None:
    """Compare a reinforcement with one that ran in one process."""
    rows = curve(expected / "reinforce")
    assert any(0 < row["failed"] < 1 and row["av_grad_norm"] > 0.5 for row in rows), "nothing to learn"  # fmt: skip
    same(curve(found / "reinforce"), rows, 1e-3)
    same(curve(found / "reinforce", "evaluations"), curve(expected / "reinforce", "evaluations"), 1e-3)  # fmt: skip
    for part in ("av", "ar"):
        ours, theirs = (load_file(folder / "reinforce" / part / "model.safetensors") for folder in (found, expected))  # fmt: skip
        assert ours.keys() == theirs.keys()
        assert all(torch.allclose(ours[key], theirs[key], atol=1e-4) for key in theirs)


def test_a_sharded_training_computes_what_one_process_does_and_goes_on_from_either(
    explaining: Path, tmp_path: Path
) -> None:
    recipe = explaining / "recipe.yaml"
    copytree(explaining / "activations", tmp_path / "activations")
    copytree(explaining / "warm-av", tmp_path / "warm-av")
    # It begins with the progress of one process, and is killed after saving its own.
    alone = Training(load_recipe(recipe), explaining.with_name("alone"), shared=explaining, on_step=stop_at(2))  # fmt: skip
    with pytest.raises(Stopped):
        alone.run(("reinforce",))
    copytree(alone.out / "reinforce", tmp_path / "reinforce")
    stages = ("--stage", "warm-ar", "--stage", "reinforce")
    done = launched(*SHARD, str(SHARDED), str(recipe), "--out", str(tmp_path), *stages, STOP_AT="4")
    assert done.returncode != 0
    assert not (tmp_path / "reinforce" / "done.json").exists()
    alike(curve(tmp_path / "warm-ar"), curve(explaining / "warm-ar"))
    assert_near(tmp_path / "warm-ar" / "ar", explaining / "warm-ar" / "ar")
    assert [row["step"] for row in curve(tmp_path / "reinforce")] == [1, 2, 3, 4]
    assert main([str(recipe), "--out", str(tmp_path), "--stage", "reinforce"]) == 0
    as_one_process(tmp_path, explaining)


class Stopped(Exception):
    pass


def stop_at(last: int) -> Callable[[str, int, int, float], None]:
    def on_step(stage: str, step: int, steps: int, value: float) -> None:
        if step == last:
            raise Stopped

    return on_step


def test_a_tiny_training_explains_better_than_its_nulls(tmp_path: Path) -> None:
    # No test times anything; a recipe of more steps than docs/nla.md measured must be timed again.
    recipe = load_recipe(TINY)
    warm, reinforced = recipe.warm_start, recipe.reinforce
    steps = warm.av.steps + warm.ar.steps + 2 * warm.control_steps + reinforced.schedule.steps
    assert steps <= 668
    assert max(warm.av.batch_size, warm.ar.batch_size) <= 24
    assert reinforced.schedule.batch_size * reinforced.group_size <= 96
    done = subprocess.run(
        [*COMMAND, str(TINY), "--out", str(tmp_path)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    card = Card.read(tmp_path / "pair")
    assert card.verify_hashes(tmp_path / "pair") == []
    assert card.fve_rl is not None
    extra = card.model_extra or {}
    for null in (card.shuffled_fve, card.random_vector_fve, card.copied_context_fve, extra["random_prediction_fve"]):  # fmt: skip
        assert card.fve_rl > null + 0.2
    assert card.failed_explanations is not None
    assert card.failed_explanations < 0.2
    assert card.claims["place"]["precision"] > 0.5  # type: ignore[operator]
    assert card.shuffled_label_gap is not None
    assert [step for step, _ in card.fve_by_step] == [0, 8]
    assert card.rows["evaluated"] == 240
    assert str(tmp_path) not in json.dumps(card.recipe)
    assert str(ROOT) not in json.dumps(card.recipe)

    pair = load_pair(tmp_path / "pair" / "av", tmp_path / "pair" / "ar")
    assert pair.baseline is not None
    assert pair.layer == 2
    vectors = Dataset.of(tmp_path / "activations", "heldout").rows(0, 20).vectors
    readings = pair.read(vectors)
    said = [reading for reading in readings if reading.fidelity.score is not None]
    assert len(said) > 10
    load_pair(tmp_path / "pair" / "av_warm", tmp_path / "pair" / "ar_warm")
