"""Readers of a scenario: found, checked against the targets, and given to the rows that need one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from auditor.errors import Mistake
from auditor.scenario import load_scenario
from auditor.scenario.readers import stand_ins
from auditor.scenario.schema import Model, ResolvedScenario, TargetSpec, Truth
from tools import registry
from tools.protocols import ToolOutput
from tools.registry import Execute, Registry, Tool, tool

HEAD = """\
name: mine
targets:
  - {id: a, model: {path: base}, truth: {group: clean}}
  - {id: b, model: {path: base, adapter: adapter}, truth: {group: guilty, motive: money}}
baseline: {path: base}
"""
ONE = "readers: {nla: {av: pairs/av, ar: pairs/ar}}\n"
TWO = "readers: {nla: {av: pairs/av, ar: pairs/ar}, warm: {av: pairs/av, ar: pairs/ar}}\n"
ROW = "tool_sets: {row: {tools: [chat, mindread]}}\n"


@tool(needs=("reader",))
def mindread() -> Execute:
    """Build the tool."""

    def execute(ctx: Any) -> ToolOutput:
        """Read."""
        return ToolOutput(summary="", items=())

    return execute


@pytest.fixture(autouse=True)
def with_mindread(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("chat", "complete_text", "search_corpus")
    plain = Registry([e for e in registry._built_in_entries() if e.name in names])
    found: dict[str, Tool] = {**plain.registered(), "mindread": mindread}

    def find(name: str) -> Tool:
        if name not in found:
            raise registry.UnknownToolError(name, found)
        return found[name]

    monkeypatch.setattr("tools.registry.find", find)
    monkeypatch.setattr("tools.registry.registered", lambda: found)


def sidecar(role: str, *, layer: int | None = 1, d_model: int = 8) -> str:
    block: dict[str, Any] = {
        "kind": "nla_model",
        "schema_version": 2,
        "role": role,
        "d_model": d_model,
        "extraction": {"injection_scale": 4.0, "mse_scale": 2.0},
        "tokens": {
            "injection_char": "㈎",
            "injection_token_id": 9,
            "injection_left_neighbor_id": 1,
            "injection_right_neighbor_id": 2,
        },
        "prompt_templates": {
            "av": "see {injection_char} here",
            "ar": "text {explanation} end",
        },
    }
    if layer is not None:
        block["extraction_layer_index"] = layer
    return yaml.safe_dump(block)


def safetensors(**shapes: list[int]) -> bytes:
    header = {n: {"dtype": "F32", "shape": s, "data_offsets": [0, 0]} for n, s in shapes.items()}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def write_side(path: Path, role: str, **told: Any) -> None:
    path.mkdir(parents=True)
    (path / "nla_meta.yaml").write_text(sidecar(role, **told))
    layer = told.get("layer", 1)
    blocks = 2 if layer is None else layer + 1
    width = told.get("d_model", 8)
    config = {"model_type": "llama", "hidden_size": width, "num_hidden_layers": blocks}
    (path / "config.json").write_text(json.dumps(config))
    (path / "model.safetensors").write_bytes(safetensors(weight=[2, 2]))
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    if role in ("ar", "critic"):
        (path / "value_head.safetensors").write_bytes(safetensors(weight=[width, width]))


@pytest.fixture
def folder(folder: Path) -> Path:
    """The room's folder, with a base of width 8 and two layers and a pair for its layer 1."""
    config = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2}
    (folder / "base" / "config.json").write_text(json.dumps(config))
    write_side(folder / "pairs" / "av", "av")
    write_side(folder / "pairs" / "ar", "ar")
    return folder


Load = Callable[[str], ResolvedScenario]


@pytest.fixture
def load(write: Callable[[str], Path]) -> Load:
    return lambda text: load_scenario(write(text))


def lines(text: str, part: str) -> int:
    """1-based number of the line that holds `part`."""
    return next(i for i, line in enumerate(text.splitlines(), 1) if part in line)


def test_a_row_that_needs_a_reader_gets_the_only_one_and_others_get_none(
    load: Load, folder: Path
) -> None:
    rows = "tool_sets: {row: {tools: [mindread]}, plain: {tools: [chat]}, s: {policy: static}}\n"
    resolved = load(HEAD + ONE + rows)
    assert list(resolved.readers) == ["row"]
    reader = resolved.readers["row"]
    assert (reader.av, reader.ar) == (str(folder / "pairs/av"), str(folder / "pairs/ar"))
    assert resolved.scenario.readers["nla"].av == "pairs/av", "as written"


def test_a_row_gets_the_reader_that_it_names(load: Load, folder: Path) -> None:
    second = "readers: {nla: {av: pairs/av, ar: pairs/ar}, hub: {av: org/av, ar: org/ar}}\n"
    rows = (
        "tool_sets:\n  x: {tools: [mindread], reader: hub, null_readout: shuffled}\n"
        "  y: {tools: [mindread], reader: nla}\n"
    )
    resolved = load(HEAD + second + rows)
    assert resolved.readers["x"].av == "org/av"
    assert resolved.readers["y"].av == str(folder / "pairs/av")
    assert resolved.scenario.tool_sets["x"].null_readout == "shuffled"


def test_pairs_may_be_given_by_layer(load: Load, folder: Path) -> None:
    write_side(folder / "low" / "av", "av", layer=0)
    write_side(folder / "low" / "ar", "ar", layer=0)
    several = (
        "readers:\n  nla:\n    pairs:\n      0: {av: low/av, ar: low/ar}\n"
        "      1: {av: pairs/av, ar: pairs/ar}\n"
    )
    reader = load(HEAD + several + ROW).readers["row"]
    assert {layer: pair.ar for layer, pair in reader.pairs.items()} == {
        0: str(folder / "low/ar"),
        1: str(folder / "pairs/ar"),
    }


def test_a_resolved_scenario_with_readers_survives_the_way_to_a_worker(load: Load) -> None:
    several = "readers: {nla: {pairs: {1: {av: pairs/av, ar: pairs/ar}}}}\n"
    resolved = load(HEAD + several + ROW)
    assert ResolvedScenario.model_validate_json(resolved.model_dump_json()) == resolved


def test_a_scenario_from_before_readers_still_loads(load: Load) -> None:
    resolved = load(HEAD + "tool_sets: {row: {tools: [chat]}}\n")
    old = json.loads(resolved.model_dump_json())
    del old["readers"], old["scenario"]["readers"], old["scenario"]["budget"]["reader_tokens"]
    for row in old["scenario"]["tool_sets"].values():
        del row["reader"], row["null_readout"]
    assert ResolvedScenario.model_validate_json(json.dumps(old)) == resolved


WRONG = {
    "no reader at all": (
        ROW,
        "mindread]",
        "tool 'mindread' needs a reader, and the scenario has none; add `readers:",
    ),
    "none, and one named": (
        "tool_sets: {row: {tools: [mindread], reader: nla}}\n",
        "mindread]",
        "tool 'mindread' needs a reader, and the scenario has none",
    ),
    "several and none named": (
        TWO + "tool_sets:\n  row: {tools: [mindread]}\n",
        "  row:",
        "there are nla, warm; add `reader: …`",
    ),
    "unknown name": (
        TWO + "tool_sets:\n  row:\n    tools: [mindread]\n    reader: wram\n",
        "reader: wram",
        "no reader is called 'wram'; did you mean 'warm'?",
    ),
    "a reader that no tool needs": (
        ONE + "tool_sets:\n  row:\n    tools: [chat]\n    reader: nla\n",
        "reader: nla",
        "no tool of this set needs a reader; delete `reader`",
    ),
    "a reader named where there is none and none is needed": (
        "tool_sets:\n  row:\n    tools: [chat]\n    reader: nla\n",
        "reader: nla",
        "no reader is called 'nla'; there are none; add `readers:",
    ),
    "a reader for the static battery": (
        ONE + "tool_sets:\n  row:\n    policy: static\n    reader: nla\n",
        "reader: nla",
        "no tool of this set needs a reader",
    ),
    "a null without a reader": (
        "tool_sets:\n  row:\n    tools: [chat]\n    null_readout: shuffled\n",
        "null_readout",
        "a null readout takes a reader's or an oracle's place, and no tool of this set needs one",
    ),
    "an unknown null": (
        ONE + "tool_sets:\n  row:\n    tools: [mindread]\n    null_readout: placbo\n",
        "placbo",
        "did you mean 'placebo'?, or null for none",
    ),
    "servers for all of several pairs": (
        "readers:\n  nla:\n    pairs: {1: {av: pairs/av, ar: pairs/ar}}\n"
        "    servers: {kind: sglang, urls: ['http://h:1']}\n" + ROW,
        "  nla:",
        "each server runs one verbalizer; move `servers` into the pair",
    ),
    "a server's address with a password": (
        "readers:\n  nla:\n    av: pairs/av\n    ar: pairs/ar\n"
        "    servers: {kind: vllm, urls: ['http://me:secret@h:1']}\n" + ROW,
        "secret",
        "an address looks like http://HOST:PORT, with no user, password or query in it",
    ),
    "no folder": (
        "readers:\n  nla:\n    av: my/pears/av\n    ar: pairs/ar\n" + ROW,
        "pears",
        "neither a folder under",
    ),
    "no folder, written as a path": (
        "readers:\n  nla:\n    av: pairs/av\n    ar: ./pears\n" + ROW,
        "pears",
        "there is no folder './pears'",
    ),
    "half a pair": (
        "readers:\n  nla: {av: pairs/av}\n" + ROW,
        "nla:",
        "a reader needs both of a pair; add `ar: …`",
    ),
    "no pair": (
        "readers:\n  nla: {dtype: float32}\n" + ROW,
        "nla:",
        "a reader needs a pair; add `av: …` and `ar: …`",
    ),
    "a pair and pairs": (
        "readers:\n  nla: {av: pairs/av, ar: pairs/ar, pairs: {1: {av: org/a, ar: org/b}}}\n" + ROW,
        "nla:",
        "`av` and `ar`, or `pairs` by layer; delete one of the two",
    ),
    "a layer that is no number": (
        "readers:\n  nla:\n    pairs:\n      two: {av: org/av, ar: org/ar}\n" + ROW,
        "two:",
        "'two' is not a whole number; write one",
    ),
    "a layer below 0": (
        "readers:\n  nla:\n    pairs:\n      -1: {av: org/av, ar: org/ar}\n" + ROW,
        "-1:",
        "write a number of at least 0",
    ),
    "a pair the wrong way round": (
        "readers:\n  nla: {av: pairs/ar, ar: pairs/av}\n" + ROW,
        "nla:",
        "are the wrong way round",
    ),
    "a verbalizer in the place of a reconstructor": (
        "readers:\n  nla:\n    av: org/av\n    ar: pairs/av\n" + ROW,
        "ar: pairs/av",
        "is a verbalizer, not a reconstructor",
    ),
    "a pair given for another layer": (
        "readers:\n  nla:\n    pairs:\n      0: {av: org/av, ar: pairs/ar}\n" + ROW,
        "0: {",
        "is for layer 1, it was given for 0",
    ),
    "a model without a sidecar": (
        "readers:\n  nla:\n    av: base\n    ar: org/ar\n" + ROW,
        "av: base",
        "nla_meta.yaml does not exist; a checkpoint needs its sidecar",
    ),
    "half a pair by layer": (
        "readers:\n  nla:\n    pairs:\n      1: {av: org/av}\n" + ROW,
        "1: {",
        "missing key 'ar'",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_about_readers_is_reported_alone_at_its_line(
    name: str, mistake: Callable[[str], Mistake]
) -> None:
    text, at, what = WRONG[name]
    found = mistake(HEAD + text)
    assert what in found.what
    assert found.line == lines(HEAD + text, at)


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ({"d_model": 16}, "reads activations of width 16, the model's are 8 wide"),
        ({"layer": 2}, "it reads layer 2, the model has layers 0 to 1"),
    ],
)
def test_a_reader_that_does_not_fit_the_targets_is_refused(
    told: dict[str, int], what: str, mistake: Callable[[str], Mistake], folder: Path
) -> None:
    write_side(folder / "odd" / "av", "av", **told)
    write_side(folder / "odd" / "ar", "ar", **told)
    text = HEAD + "readers:\n  nla: {av: odd/av, ar: odd/ar}\n" + ROW
    found = mistake(text)
    assert "does not fit target 'a' (and 1 more targets): " in found.what
    assert what in found.what
    assert found.line == lines(text, "odd/av")


def test_the_layer_of_an_old_pair_is_counted_in_its_reconstructor(
    mistake: Callable[[str], Mistake], folder: Path
) -> None:
    write_side(folder / "old" / "av", "av", layer=None)
    write_side(folder / "old" / "ar", "ar", layer=None)
    config = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 5}
    (folder / "old" / "ar" / "config.json").write_text(json.dumps(config))
    found = mistake(HEAD + "readers: {nla: {av: old/av, ar: old/ar}}\n" + ROW)
    assert "it reads layer 4, the model has layers 0 to 1" in found.what


@pytest.mark.parametrize(
    ("file", "content", "what"),
    [
        ("ar/value_head.safetensors", None, "a reconstructor needs its value head"),
        ("ar/value_head.safetensors", safetensors(weight=[4, 4]), "one tensor of 8 x 8"),
        ("ar/value_head.safetensors", b"version https://git-lfs", "Git LFS pointer"),
        ("av/model.safetensors", None, "has no weights"),
        ("av/config.json", None, "has no config.json"),
        ("av/tokenizer_config.json", b"{}", "has no tokenizer"),
        ("ar/nla_meta.yaml", b"kind: [", "nla_meta.yaml"),
    ],
)
def test_a_damaged_pair_is_refused_before_anything_is_loaded(
    file: str, content: bytes | None, what: str, mistake: Callable[[str], Mistake], folder: Path
) -> None:
    path = folder / "pairs" / file
    path.unlink() if content is None else path.write_bytes(content)
    found = mistake(HEAD + "readers:\n  nla:\n    av: pairs/av\n    ar: pairs/ar\n" + ROW)
    assert what in found.what
    assert found.line == 6 + ["av", "ar"].index(file[:2]) + 2


def test_pairs_of_different_widths_are_refused(
    mistake: Callable[[str], Mistake], folder: Path
) -> None:
    write_side(folder / "wide" / "av", "av", layer=0, d_model=16)
    write_side(folder / "wide" / "ar", "ar", layer=0, d_model=16)
    found = mistake(
        HEAD
        + "readers: {nla: {pairs: {0: {av: wide/av, ar: wide/ar}, 1: {av: pairs/av, ar: pairs/ar}}}}\n"
        + ROW
    )
    assert "models of different widths, 16 and 8" in found.what


def test_a_placebo_row_whose_target_stands_alone_is_refused(
    mistake: Callable[[str], Mistake],
) -> None:
    head = HEAD.replace("group: guilty, motive: money", "group: clean")
    text = head + ONE + "tool_sets:\n  p: {tools: [mindread], null_readout: placebo}\n"
    found = mistake(text)
    assert "target 'a' (and 1 more targets) has no other target to take" in found.what
    assert found.line == lines(text, "placebo")


def test_a_shuffled_row_needs_a_baseline_to_shuffle_with(
    mistake: Callable[[str], Mistake],
) -> None:
    head = HEAD.replace("baseline: {path: base}\n", "")
    text = head + ONE + "tool_sets:\n  s: {tools: [mindread], null_readout: shuffled}\n"
    found = mistake(text)
    assert "has no baseline to shuffle its readings with" in found.what
    assert found.line == lines(text, "shuffled")


def test_faulty_tools_are_not_held_against_the_reader(
    mistakes: Callable[[str], list[Mistake]],
) -> None:
    for tools in ("[mindreed]", "[chat, []]", "mindread"):
        found = mistakes(HEAD + ONE + f"tool_sets: {{row: {{tools: {tools}, reader: nla}}}}\n")
        assert len(found) == 1, found


def spec(name: str, group: str, motive: str | None = None, **changes: Any) -> TargetSpec:
    values: dict[str, Any] = {
        "model": Model(path="base", adapter=name),
        "baseline": Model(path="base"),
        "truth": Truth(group=group, motive=motive),
    }
    return TargetSpec(id=name, **(values | changes))


def test_who_may_stand_in_differs_in_the_truth_and_shares_the_origin() -> None:
    me = spec("me", "guilty", "money")
    others = [
        me,
        spec("same-motive", "guilty", "money"),
        spec("symptoms-of-it", "symptom", "money"),
        spec("other-motive", "guilty", "fame"),
        spec("clean", "clean"),
        spec("decoy", "decoy"),
        spec("elsewhere", "guilty", "fame", baseline=Model(path="another")),
        spec("no-baseline", "guilty", "fame", baseline=None),
        spec("twin", "guilty", "fame", model=me.model),
    ]
    assert [t.id for t in stand_ins(me, others)] == ["other-motive", "clean", "decoy"]
    assert [t.id for t in stand_ins(others[4], others)] == [
        "me", "same-motive", "symptoms-of-it", "other-motive", "decoy", "twin",
    ]  # fmt: skip


def test_without_a_baseline_the_base_model_is_the_origin() -> None:
    mine = spec("a", "guilty", "money", baseline=None)
    theirs = spec("b", "clean", baseline=None)
    far = spec("c", "clean", baseline=None, model=Model(path="other", adapter="c"))
    assert stand_ins(mine, [mine, theirs, far]) == [theirs]
