import json
import shutil
import subprocess
import sys

import pytest

from auditor.scenario.schema import Model
from auditor.target import preflight_model


@pytest.fixture
def copy(folders, tmp_path):
    """A private copy of a sound model folder."""
    folder = tmp_path / "copy"
    shutil.copytree(folders / "base", folder)
    return folder


def mistakes(path, adapter=None) -> list[str]:
    return preflight_model(Model(path=str(path), adapter=adapter and str(adapter)))


def edit(file, **changes) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_sound_folders_have_no_mistakes(folders):
    assert mistakes(folders / "base", folders / "one") == []
    assert mistakes(folders / "deep", folders / "for_deep") == []


def test_hub_ids_are_not_looked_up():
    assert mistakes("no-such-owner/no-such-model", "no-such-owner/no-such-adapter") == []


def test_a_missing_folder_is_named(tmp_path):
    assert mistakes(tmp_path / "gone") == [
        f"model folder {tmp_path}/gone does not exist; correct `path`"
    ]


def remove_template(copy) -> None:
    (copy / "chat_template.jinja").unlink(missing_ok=True)
    edit(copy / "tokenizer_config.json", chat_template=None)


def remove_tokenizer(copy) -> None:
    for file in copy.glob("tokenizer*"):
        file.unlink()


def write_index(weight_map: object):
    text = json.dumps({"weight_map": weight_map})
    return lambda copy: (copy / "model.safetensors.index.json").write_text(text)


WEIGHTS = "model.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
SPOILERS = {
    "no config": lambda copy: (copy / "config.json").unlink(),
    "bad config": lambda copy: (copy / "config.json").write_text("{"),
    "list config": lambda copy: (copy / "config.json").write_text("[]"),
    "no weights": lambda copy: (copy / WEIGHTS).unlink(),
    "pickles": lambda copy: (copy / WEIGHTS).rename(copy / "pytorch_model.bin"),
    "pointer": lambda copy: (copy / WEIGHTS).write_text(POINTER),
    "huge header": lambda copy: (copy / WEIGHTS).write_bytes(b"\xff" * 64),
    "missing part": write_index({"a": "model-00001-of-00002.safetensors"}),
    "bad index": write_index([]),
    "no template": remove_template,
    "no tokenizer": remove_tokenizer,
    "remote model": lambda copy: edit(copy / "config.json", auto_map={"AutoModel": "m.M"}),
    "remote tokenizer": lambda copy: edit(
        copy / "tokenizer_config.json", auto_map={"AutoTokenizer": ["t.T", None]}
    ),
}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no config", "has no config.json; point `path`"),
        ("bad config", "config.json is not readable JSON"),
        ("list config", "config.json does not hold a JSON object"),
        ("no weights", "has no weights; it needs model.safetensors"),
        ("pickles", "pickled weights only, which are refused"),
        ("pointer", "model.safetensors is not a safetensors file (a Git LFS pointer?)"),
        ("huge header", "model.safetensors is not a safetensors file"),
        ("missing part", "lacks model-00001-of-00002.safetensors, which its index names"),
        ("bad index", "has no weight_map"),
        ("no template", "has no chat template"),
        ("no tokenizer", "has no tokenizer"),
        ("remote model", "needs remote code (auto_map in config.json)"),
        ("remote tokenizer", "needs remote code (auto_map in tokenizer_config.json)"),
    ],
)
def test_each_mistake_is_one_line_with_the_folder(copy, how, message):
    SPOILERS[how](copy)
    (found,) = mistakes(copy)
    assert message in found
    assert str(copy) in found
    assert "\n" not in found


def test_a_template_inside_the_tokenizer_config_counts(copy):
    (copy / "chat_template.jinja").unlink(missing_ok=True)
    edit(copy / "tokenizer_config.json", chat_template="{{ messages }}")
    assert mistakes(copy) == []


def test_several_mistakes_are_all_told(copy):
    SPOILERS["no template"](copy)
    SPOILERS["no weights"](copy)
    assert len(mistakes(copy)) == 2


@pytest.mark.parametrize(
    ("adapter", "why"),
    [
        ("for_wide", "down_proj has width 128 in it, 32 x 64 in the base"),
        ("for_deep", "it changes layer 2, the base has layers 0 to 1"),
    ],
)
def test_an_adapter_of_another_base_is_found_out(folders, adapter, why):
    (found,) = mistakes(folders / "base", folders / adapter)
    assert f"{adapter} was made for another base" in found
    assert why in found


def test_an_adapter_without_its_files_is_named(folders, tmp_path):
    folder = tmp_path / "adapter"
    assert "does not exist; correct `adapter`" in mistakes(folders / "base", folder)[0]
    folder.mkdir()
    other = tmp_path / "other"
    other.mkdir()
    assert "has no adapter_config.json" in mistakes(folders / "base", other)[0]
    pickled = tmp_path / "pickled"
    shutil.copytree(folders / "one", pickled)
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    assert "pickled weights only, which are refused" in mistakes(folders / "base", pickled)[0]


def test_inspecting_files_imports_no_machine_learning_library(folders):
    script = (
        "import sys; from auditor.scenario.schema import Model;"
        "from auditor.target import preflight_model;"
        f"assert preflight_model(Model(path={str(folders / 'base')!r},"
        f" adapter={str(folders / 'one')!r})) == [];"
        "print([m for m in ('torch', 'transformers', 'peft', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
