import json
import shutil
import socket

import pytest
import transformers
from safetensors.torch import load_file, save_file

from auditor.errors import UsageError
from auditor.scenario.schema import Model
from auditor.target import TargetPool
from nla_core.sampling import Sampling
from tools.protocols import ChatMessage, Prompt

ASK = [Prompt((ChatMessage("user", text),)) for text in ("Hi", "Why is it so?")]


def says(target) -> list[str]:
    return [r.text for r in target.chat(ASK, sampling=Sampling(max_tokens=20), seeds=[3, 4])]


def on_base(folders, adapter=None, **options) -> Model:
    path = None if adapter is None else str(folders / adapter)
    return Model(path=str(folders / "base"), adapter=path, device="cpu", **options)


@pytest.fixture
def loads(monkeypatch):
    """Count how often weights are read from disk."""
    paths = []
    original = transformers.AutoModelForCausalLM.from_pretrained

    def counted(path, **options):
        paths.append(path)
        return original(path, **options)

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", counted)
    return paths


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("something went to the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("no_network")
def test_a_base_is_read_once_for_itself_and_all_adapters(folders, loads):
    pool = TargetPool()
    base = pool.get(on_base(folders))
    before = says(base)
    one, two = pool.get(on_base(folders, "one")), pool.get(on_base(folders, "two"))
    said = {"one": says(one), "two": says(two)}
    assert len({str(before), str(said["one"]), str(said["two"])}) == 3
    assert says(base) == before
    assert says(one) == said["one"]
    assert says(two) == said["two"]
    assert says(pool.get(on_base(folders, "one"))) == said["one"]
    assert len(loads) == 1


@pytest.mark.usefixtures("no_network")
def test_a_merged_copy_says_what_the_adapter_says_and_leaves_the_base_alone(folders):
    pool = TargetPool()
    base = pool.get(on_base(folders))
    before = says(base)
    merged = says(pool.get(on_base(folders, "one", merge_adapter=True)))
    assert says(base) == before
    assert merged == says(pool.get(on_base(folders, "one")))
    assert merged != before


def test_a_copy_merged_after_adapters_sat_on_the_base_is_clean(folders):
    first = TargetPool()
    expected = says(first.get(on_base(folders, "one", merge_adapter=True)))
    second = TargetPool()
    says(second.get(on_base(folders, "two")))
    assert says(second.get(on_base(folders, "one", merge_adapter=True))) == expected


def test_merged_copies_do_not_pile_up(folders):
    pool = TargetPool(merged_bytes=1)
    targets = {}
    for adapter in ("one", "two", "one"):
        targets[adapter] = pool.get(on_base(folders, adapter, merge_adapter=True))
        assert len(pool._merged) == 1
    roomy = TargetPool()
    for adapter, target in targets.items():
        assert says(target) == says(roomy.get(on_base(folders, adapter, merge_adapter=True)))
    assert len(roomy._merged) == 2


def test_a_merged_copy_is_used_again_while_it_is_kept(folders):
    pool = TargetPool()
    pool.get(on_base(folders, "one", merge_adapter=True))
    (kept,) = pool._merged.values()
    pool.get(on_base(folders, "one", merge_adapter=True))
    assert list(pool._merged.values()) == [kept]


def test_system_prompts_belong_to_targets_not_to_weights(folders, loads):
    pool = TargetPool()
    plain = pool.get(on_base(folders))
    told = pool.get(on_base(folders, system_prompt="Be rude."))
    assert len(told.token_ids(ASK)[0]) > 0
    assert told.token_ids(ASK) != plain.token_ids(ASK)
    assert len(loads) == 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_weights_have_the_dtype_asked_for(folders, dtype):
    pool = TargetPool()
    pool.get(on_base(folders, dtype=dtype))
    (loaded,) = pool._bases.values()
    assert str(loaded.model.dtype) == f"torch.{dtype}"


def copied(folders, tmp_path):
    target = tmp_path / "copy"
    shutil.copytree(folders / "base", target)
    return target


def test_weights_with_missing_tensors_are_refused(folders, tmp_path):
    folder = copied(folders, tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"copy: its weights lack 1 tensors, model.layers.1.mlp"):
        TargetPool().get(Model(path=str(folder), device="cpu"))


def test_what_transformers_cannot_load_is_one_line_with_the_path(folders, tmp_path):
    folder = copied(folders, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "no_such_model"}))
    with pytest.raises(UsageError, match=r"cannot load model .*copy: .*no_such_model") as raised:
        TargetPool().get(Model(path=str(folder), device="cpu"))
    assert "\n" not in str(raised.value)


def test_an_unknown_device_is_refused(folders):
    # The schema refuses it in a scenario; a program may still ask for it.
    model = Model(path=str(folders / "base")).model_copy(update={"device": "abacus"})
    with pytest.raises(UsageError, match=r"cannot load model .*base: .*abacus"):
        TargetPool().get(model)


def test_an_adapter_of_another_base_is_refused(folders):
    with pytest.raises(UsageError, match="for_wide was made for another base"):
        TargetPool().get(on_base(folders, "for_wide"))


def test_an_adapter_that_peft_cannot_load_is_one_line_with_the_path(folders, tmp_path):
    folder = tmp_path / "adapter"
    shutil.copytree(folders / "one", folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["peft_type"] = "NO_SUCH"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    pool = TargetPool()
    with pytest.raises(UsageError, match=r"cannot load adapter .*/adapter: ") as raised:
        pool.get(Model(path=str(folders / "base"), adapter=str(folder), device="cpu"))
    assert "\n" not in str(raised.value)
    assert says(pool.get(on_base(folders, "one")))
