import gc
import json
import shutil
import socket
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import transformers
from safetensors.torch import load_file, save_file

from auditor.errors import UsageError
from auditor.scenario.schema import Model
from auditor.target import TargetPool
from auditor.target.batched import BatchingPool
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


def adapters_in(pool) -> list[str]:
    """Folder names of the adapters in memory on the one base, least recently used first."""
    (base,) = pool._bases.values()
    held = {n.split(".")[-2] for n, _ in base.peft.named_parameters() if "lora_" in n}
    assert held == {adapter.name for adapter in base.adapters.values()} == {*base.peft.peft_config}
    return [path.rpartition("/")[2] for path in base.adapters]


@pytest.fixture
def three(folders, tmp_path):
    """Folders of a base and of three adapters, each of which takes 7.2 kB."""
    for name in ("base", "one", "two"):
        (tmp_path / name).symlink_to(folders / name)
    shutil.copytree(folders / "one", tmp_path / "three")
    weights = load_file(tmp_path / "three/adapter_model.safetensors")
    changed = {name: weight.flip(0) for name, weight in weights.items()}
    save_file(changed, tmp_path / "three/adapter_model.safetensors")
    return tmp_path


def test_adapters_beyond_the_room_leave_the_least_recently_used_first(three):
    roomy, tight = TargetPool(), TargetPool(adapter_bytes=20_000)
    targets = {name: tight.get(on_base(three, name)) for name in ("one", "two")}
    expected = {name: says(roomy.get(on_base(three, name))) for name in ("one", "two", "three")}
    assert says(targets["one"]) == expected["one"]
    gone = weakref.ref(next(p for n, p in lora(tight) if "adapter_2" in n))
    targets["three"] = tight.get(on_base(three, "three"))
    assert adapters_in(tight) == ["one", "three"]
    gc.collect()
    assert gone() is None
    assert {name: says(target) for name, target in targets.items()} == expected
    assert adapters_in(tight) == ["two", "three"]
    assert adapters_in(roomy) == ["one", "two", "three"]


def lora(pool):
    (base,) = pool._bases.values()
    return [(name, weight) for name, weight in base.peft.named_parameters() if "lora_" in name]


def test_one_adapter_always_has_room_and_the_base_is_itself_beside_it(three):
    pool = TargetPool(adapter_bytes=1)
    base = pool.get(on_base(three))
    before = says(base)
    expected = says(TargetPool().get(on_base(three, "two")))
    targets = [pool.get(on_base(three, name)) for name in ("one", "two")]
    assert adapters_in(pool) == ["two"]
    assert says(targets[1]) == expected
    assert says(base) == before
    says(targets[0])
    assert adapters_in(pool) == ["one"]
    assert says(targets[1]) == expected


@pytest.mark.parametrize("batching", [False, True])
def test_trials_that_push_each_others_adapters_out_hear_what_each_hears_alone(three, batching):
    names = ["one", "two", "three"] * 2
    expected = {name: says(TargetPool().get(on_base(three, name))) for name in names}
    pool = TargetPool(adapter_bytes=1)
    shared = BatchingPool(inner=pool) if batching else pool
    start = threading.Barrier(len(names))

    def trial(name: str) -> list[list[str]]:
        start.wait()
        return [says(shared.get(on_base(three, name))) for _ in range(4)]

    with ThreadPoolExecutor(len(names)) as threads:
        heard = list(threads.map(trial, names))
    shared.close() if batching else None
    assert heard == [[expected[name]] * 4 for name in names]
    assert len(adapters_in(pool)) == 1


def test_adapters_have_a_quarter_of_a_large_base_to_themselves(folders, monkeypatch):
    small, large = TargetPool(), TargetPool()
    small.get(on_base(folders))
    monkeypatch.setattr(transformers.PreTrainedModel, "get_memory_footprint", lambda self: 16 << 30)
    large.get(on_base(folders))
    rooms = [base.room for pool in (small, large) for base in pool._bases.values()]
    assert rooms == [256 << 20, 4 << 30]


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


def test_a_path_that_is_no_folder_is_said_to_be_taken_for_a_hub_id(folders, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = Model(path=str(folders / "base"), adapter="no/where", device="cpu")
    with pytest.raises(UsageError, match=r"no/where \(no folder here, so taken for a hub id\): "):
        TargetPool().get(model)


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
