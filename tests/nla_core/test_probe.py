"""Linear probes: their arithmetic, their files, and every way in which a file can be wrong."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nla_core.probe import (
    RECORD_FILE,
    WEIGHTS_FILE,
    LinearProbe,
    ProbeError,
    ProbeRecord,
    fold,
    load_probe,
    read_record,
    save_probe,
)

CLASSES = ("no motive", "wants fame", "wants money")
WIDTH = 5


def record(**changes: Any) -> ProbeRecord:
    told: dict[str, Any] = {
        "schema_version": 1,
        "layer": 2,
        "d_model": WIDTH,
        "base_model": "tiny",
        "classes": CLASSES,
        "held_out_accuracy": 0.5,
        "held_out_recall": {"wants fame": 0.25},
        "held_out_documents": 3,
        "held_out_places": 9,
        "train_places": 30,
        "seed": 1,
        "created": date(2026, 11, 23),
        "weights_sha256": "",
    }
    return ProbeRecord.model_validate(told | changes)


def made(seed: int = 0, **changes: Any) -> LinearProbe:
    rng = torch.Generator().manual_seed(seed)
    return LinearProbe(
        record(**changes),
        torch.randn(len(CLASSES), WIDTH, generator=rng),
        torch.randn(len(CLASSES), generator=rng),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_probe(made(), tmp_path)
    return tmp_path


@pytest.fixture
def spoil(folder: Path) -> Callable[..., str]:
    """Change fields of the record (a value of ... takes one out); return what loading then says."""

    def change(**fields: Any) -> str:
        path = folder / RECORD_FILE
        told = json.loads(path.read_text()) | fields
        path.write_text(json.dumps({k: v for k, v in told.items() if v is not ...}, default=str))
        return refusal(folder)

    return change


def refusal(folder: Path) -> str:
    with pytest.raises(ProbeError) as caught:
        load_probe(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_probabilities_are_those_of_logits_worked_out_by_hand() -> None:
    probe, x = made(), torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(3))
    found = probe.probabilities(x)
    for row in range(4):
        logits = [
            sum(float(x[row, i]) * float(probe.weight[c, i]) for i in range(WIDTH))
            + float(probe.bias[c])
            for c in range(len(CLASSES))
        ]
        powers = torch.tensor(logits, dtype=torch.float64).exp()
        assert found[row].tolist() == pytest.approx((powers / powers.sum()).tolist(), abs=1e-6)


def test_activations_of_half_precision_are_classified_in_float32() -> None:
    probe, x = made(), torch.randn(4, WIDTH).bfloat16()
    found = probe.probabilities(x)
    assert found.dtype == torch.float32
    assert torch.equal(found, probe.probabilities(x.float()))


def test_no_activations_give_no_rows() -> None:
    assert made().probabilities(torch.zeros(0, WIDTH)).shape == (0, len(CLASSES))


@pytest.mark.parametrize("shape", [(2, WIDTH + 1), (WIDTH,), (1, 2, WIDTH)])
def test_activations_of_another_width_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ProbeError, match=rf"\[n, {WIDTH}\].*{shape[-1]}"):
        made().probabilities(torch.zeros(shape))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.floats(-200, 200), st.floats(0.01, 100))
def test_a_folded_standardisation_gives_the_same_logits(
    seed: int, offset: float, spread: float
) -> None:
    rng = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn(3, WIDTH, generator=rng), torch.randn(3, generator=rng)
    mean = offset + torch.randn(WIDTH, generator=rng)
    scale = spread * (0.1 + torch.rand(WIDTH, generator=rng))
    x = mean + scale * torch.randn(8, WIDTH, generator=rng)
    folded, shifted = fold(weight, bias, mean=mean, scale=scale)
    plain = ((x - mean) / scale).double() @ weight.double().T + bias.double()
    found = x.double() @ folded.double().T + shifted.double()
    size = float((x.abs().double() @ folded.abs().double().T + shifted.abs()).max())
    assert torch.allclose(found, plain, atol=1e-6 * size + 1e-5)


def test_what_is_saved_is_loaded_again(folder: Path) -> None:
    before, after = made(), load_probe(folder)
    assert torch.equal(after.weight, before.weight)
    assert torch.equal(after.bias, before.bias)
    assert after.classes == CLASSES
    assert (after.layer, after.d_model) == (2, WIDTH)
    assert after.record == read_record(folder)
    assert len(after.record.weights_sha256) == 64
    assert sorted(path.name for path in folder.iterdir()) == [RECORD_FILE, WEIGHTS_FILE]


@pytest.mark.parametrize("name", [RECORD_FILE, WEIGHTS_FILE])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert refusal(folder) == f"{folder / name}: there is no such file"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"schema_version": ...}, "schema_version"),
        ({"layer": -1}, "layer"),
        ({"layer": "2"}, "layer"),
        ({"layer": 2.5}, "layer"),
        ({"d_model": 0}, "d_model"),
        ({"classes": ["one"]}, "classes"),
        ({"classes": ["a", "A", "b"]}, "must all differ"),
        ({"classes": ["a", " b", "c"]}, "classes.1"),
        ({"classes": ["a", "", "c"]}, "classes.1"),
        ({"classes": ["a", "b\x1b[2J", "c"]}, "control characters"),
        ({"classes": ["a", "x" * 81, "c"]}, "classes.1"),
        ({"held_out_accuracy": 1.5}, "held_out_accuracy"),
        ({"held_out_recall": {"wants fame": -0.1}}, "held_out_recall.wants fame"),
        ({"held_out_recall": {"wants nothing": 0.1}}, "'wants nothing' is none of the classes"),
        ({"created": "yesterday"}, "created"),
        ({"weights_sha256": "abc"}, "weights_sha256"),
        ({"pickle": "x"}, "pickle"),
        ({"layer": ..., "seed": ...}, "layer: Field required; seed: Field required"),
    ],
)
def test_a_record_that_is_wrong_is_refused_with_its_field(
    folder: Path, spoil: Callable[..., str], fields: dict[str, Any], said: str
) -> None:
    message = spoil(**fields)
    assert message.startswith(f"{folder / RECORD_FILE}: ")
    assert said in message


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_record_that_is_no_json_object_is_refused(folder: Path, content: bytes) -> None:
    (folder / RECORD_FILE).write_bytes(content)
    assert refusal(folder).startswith(f"{folder / RECORD_FILE}: ")


def test_a_huge_record_is_refused_unread(folder: Path) -> None:
    (folder / RECORD_FILE).write_bytes(b" " * 1_000_001)
    assert "larger than" in refusal(folder)


def test_weights_that_are_no_safetensors_are_refused(folder: Path) -> None:
    (folder / WEIGHTS_FILE).write_bytes(b"\x80\x04pickle")
    assert refusal(folder).startswith(f"{folder / WEIGHTS_FILE}: cannot be read")


def test_a_record_of_another_width_or_number_of_classes_is_refused(
    spoil: Callable[..., str],
) -> None:
    assert f"must hold weight [3, 7] and bias [3], holds bias [3], weight [3, {WIDTH}]" in spoil(
        d_model=7
    )
    assert "must hold weight [2, 5]" in spoil(d_model=WIDTH, classes=["a", "b"], held_out_recall={})


def test_weights_of_another_probe_of_the_same_shape_are_refused(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    save_probe(made(seed=1), other)
    (folder / WEIGHTS_FILE).write_bytes((other / WEIGHTS_FILE).read_bytes())
    assert "is another file than the one probe.json was written for" in refusal(folder)


def test_values_that_are_not_finite_or_not_float32_are_refused() -> None:
    good = made()
    with pytest.raises(ProbeError, match="bias holds values that are not finite"):
        LinearProbe(good.record, good.weight, good.bias * float("nan"))
    with pytest.raises(ProbeError, match="weight must be float32"):
        LinearProbe(good.record, good.weight.double(), good.bias)
