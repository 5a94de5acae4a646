"""Building prompts from the embedding table alone."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from nla_core.backends.remote_model import RemoteModel, load_remote_model
from nla_core.sidecar import SidecarError
from nla_core.verbalizer import Verbalizer

Checkpoint = Callable[[str], Path]
TABLE = "model.embed_tokens.weight"


class Anything:
    """A backend that is never drawn from."""

    def continue_embeddings(self, prompts: Any, **_: Any) -> list[Any]:
        raise AssertionError("drawn from")

    def check(self) -> None:
        """Nothing to check."""


@pytest.fixture
def copied(checkpoint_of: Checkpoint, tmp_path: Path) -> Path:
    """A checkpoint of one's own to spoil."""
    folder = tmp_path / "av"
    shutil.copytree(checkpoint_of("llama"), folder)
    return folder


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_only_the_embedding_table_is_needed(copied: Path, vectors: torch.Tensor) -> None:
    expected = Verbalizer.load(copied).prompts(vectors)
    rewrite(copied, lambda t: [t.pop(name) for name in list(t) if name != TABLE])
    remote = Verbalizer.load_remote(copied, Anything())
    assert isinstance(remote.model, RemoteModel)
    assert [name for name, _ in remote.model.named_parameters()] == ["_embeddings.weight"]
    assert torch.equal(remote.prompts(vectors), expected)
    assert remote.prompts(vectors, message="The <concept><INJECT></concept>").shape[0] == 5


def test_the_table_stays_in_its_file(copied: Path) -> None:
    rewrite(copied, lambda t: t.update({TABLE: torch.ones(2**16, 32)}))
    model = load_remote_model(copied)
    model.get_input_embeddings().weight[torch.tensor([0])]
    maps = Path("/proc/self/smaps")
    if not maps.exists():
        pytest.skip("needs /proc")
    lines = maps.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if str(copied) in line)
    resident = next(line for line in lines[at:] if line.startswith("Rss:"))
    assert int(resident.split()[1]) < 2**16 * 32 * 4 / 1024 / 2


def test_bfloat16_rows_are_multiplied_in_float32(
    checkpoint_of: Checkpoint, tmp_path: Path, vectors: torch.Tensor
) -> None:
    folder = tmp_path / "av"
    shutil.copytree(checkpoint_of("gemma3"), folder)
    rewrite(folder, lambda t: t.update({n: v.to(torch.bfloat16) for n, v in t.items()}))
    found = Verbalizer.load_remote(folder, Anything()).prompts(vectors)
    local = Verbalizer.load(folder, dtype=torch.bfloat16).prompts(vectors)
    assert found.dtype == torch.float32
    assert torch.equal(found, local)


def test_a_sharded_checkpoint_is_read_through_its_index(
    copied: Path, vectors: torch.Tensor
) -> None:
    whole = Verbalizer.load(copied)
    expected = whole.prompts(vectors)
    (copied / "model.safetensors").unlink()
    model: Any = whole.model
    model.save_pretrained(copied, max_shard_size="20KB")
    index = json.loads((copied / "model.safetensors.index.json").read_text())
    for name in set(index["weight_map"].values()) - {index["weight_map"][TABLE]}:
        (copied / name).unlink()
    assert torch.equal(Verbalizer.load_remote(copied, Anything()).prompts(vectors), expected)


def test_without_a_generation_config_the_config_says_where_text_ends(copied: Path) -> None:
    (copied / "generation_config.json").unlink()
    assert Verbalizer.load_remote(copied, Anything()).stop_ids == Verbalizer.load(copied).stop_ids


def test_a_remote_verbalizer_has_nothing_to_save(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no weights to save"):
        Verbalizer.load_remote(copied, Anything()).save(tmp_path / "other")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "has neither model.safetensors nor"),
        (lambda f: (f / "model.safetensors").write_bytes(b"no"), "cannot be read"),
        (lambda f: rewrite(f, lambda t: t.pop(TABLE)), "holds none"),
        (
            lambda f: rewrite(f, lambda t: t.update({"other.wte.weight": t[TABLE].clone()})),
            "holds 2 of them: model.embed_tokens.weight, other.wte.weight",
        ),
        (
            lambda f: rewrite(f, lambda t: t.update({TABLE: t[TABLE].to(torch.int8)})),
            r"is int8 \[\d+, 32\]; it must be a matrix of floats",
        ),
        (
            lambda f: rewrite(f, lambda t: t.update({TABLE: t[TABLE][:, :16].clone()})),
            r"the model has 32 \(embedding table: 16\)",
        ),
        (lambda f: (f / "nla_meta.yaml").unlink(), "needs its sidecar"),
    ],
)
def test_a_checkpoint_that_does_not_serve_is_refused(
    copied: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    spoil(copied)
    with pytest.raises(SidecarError, match=message):
        Verbalizer.load_remote(copied, Anything())


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("no JSON", "does not map tensors"),
        ("{}", "does not map tensors"),
        ('{"weight_map": [1]}', "does not map tensors"),
        ('{"weight_map": {}}', "holds none"),
        (f'{{"weight_map": {{"{TABLE}": "../x.safetensors"}}}}', "outside its folder"),
        (f'{{"weight_map": {{"{TABLE}": "gone.safetensors"}}}}', "cannot be read"),
    ],
)
def test_a_broken_index_is_refused(copied: Path, index: str, message: str) -> None:
    (copied / "model.safetensors.index.json").write_text(index)
    with pytest.raises(SidecarError, match=message):
        load_remote_model(copied)
