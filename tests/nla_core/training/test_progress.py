"""What survives a kill."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from nla_core.training.config import Schedule
from nla_core.training.progress import Metrics, Progress, learning_rate, read_metrics
from nla_core.training.trained import Trained

SCHEDULE = Schedule(steps=20, lr=0.5, warmup=4, final_lr=0.1, weight_decay=0.01)


def steps_of(path: Path) -> list[int]:
    return [row["step"] for row in read_metrics(path)]


def test_the_rate_rises_in_a_line_and_falls_as_a_cosine() -> None:
    rates = [learning_rate(SCHEDULE, step) for step in range(20)]
    assert rates[:5] == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])
    assert rates[12] == pytest.approx(0.5 * (0.1 + 0.9 * 0.5))
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert learning_rate(SCHEDULE, 20) == learning_rate(SCHEDULE, 99) == pytest.approx(0.05)
    flat = Schedule(steps=3, lr=0.5, warmup=0, final_lr=1)
    assert [learning_rate(flat, step) for step in range(3)] == [0.5, 0.5, 0.5]


class Toy:
    """A few steps of regression."""

    def __init__(self, path: Path) -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        self.trained = Trained(self.module, SCHEDULE, SCHEDULE.lr)
        self.progress = Progress(path, {"toy": self.trained})

    def run(self, start: int, stop: int) -> None:
        for step in range(start, stop):
            x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
            loss = (self.trained.running(x) - x.sum(1, keepdim=True)).square().mean()
            self.trained.step(loss, learning_rate(SCHEDULE, step))

    def weights(self) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in self.module.parameters()])


def test_a_training_goes_on_exactly_where_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "progress.safetensors"
    unbroken = Toy(path)
    assert unbroken.progress.restore() == 0
    unbroken.run(0, 7)
    unbroken.progress.save(7)
    unbroken.run(7, 12)
    resumed = Toy(path)
    assert resumed.progress.restore() == 7
    resumed.run(7, 12)
    assert torch.equal(resumed.weights(), unbroken.weights())
    assert [p.name for p in path.parent.iterdir()] == ["progress.safetensors"]


def test_a_save_that_is_killed_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "progress.safetensors"
    toy = Toy(path)
    toy.progress.save(3)
    path.with_suffix(".part").write_bytes(b"cut")
    assert Toy(path).progress.restore() == 3


def test_metrics_of_steps_that_a_kill_made_void_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = Metrics(path, step=0)
    for step in range(1, 8):
        first.log(step, loss=1.0 / 3, count=step, unknown=None)
    Metrics(path, step=4).log(5, loss=2.0)
    assert steps_of(path) == [1, 2, 3, 4, 5]
    assert read_metrics(path)[0] == {"step": 1, "loss": 0.333333, "count": 1, "unknown": None}
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_training_that_begins_anew_has_no_metrics_yet(tmp_path: Path) -> None:
    # A measurement before the first step is made again after a kill before the first save.
    path = tmp_path / "evaluations.jsonl"
    Metrics(path, step=0).log(0, fve=0.1)
    Metrics(path, step=0).log(0, fve=0.1)
    assert steps_of(path) == [0]


@pytest.mark.parametrize("cut", ["", "{", '{"step": 3, "lo', '{"step": 3}'])
def test_a_last_line_that_was_cut_is_left_out(cut: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n' + cut)
    whole = [1, 2, 3] if cut.endswith("}") else [1, 2]
    assert steps_of(path) == whole
    Metrics(path, step=2).log(3, loss=1.0)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_other_processes_than_the_main_one_write_no_metrics(tmp_path: Path) -> None:
    Metrics(tmp_path / "metrics.jsonl", step=0, active=False).log(1, loss=1.0)
    assert list(tmp_path.iterdir()) == []
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_the_cosine_begins_after_the_warm_up() -> None:
    at = [learning_rate(SCHEDULE, 4 + k) / 0.5 for k in range(17)]
    expected = [0.1 + 0.45 * (1 + math.cos(math.pi * k / 16)) for k in range(17)]
    assert at == pytest.approx(expected)
