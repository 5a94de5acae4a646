"""`auditor nla`: readings, scores and cards on tiny models, and every way to ask for nonsense."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auditor.cli import app, nla_card, nla_options
from auditor.cli.nla_positions import Positions, choose, parse_positions
from auditor.cli.reference import cli_reference, parameters_of
from auditor.errors import UsageError
from nla_core.baseline_file import save_baseline
from nla_core.card import Card, hash_files
from nla_core.fidelity import Baseline
from nla_core.pair import load_pair
from nla_core.positions import Turn
from nla_core.reconstructor import new_reconstructor
from nla_core.sampling import Sampling
from nla_core.verbalizer import new_verbalizer

Call = Callable[..., Any]
ROOT = Path(__file__).parents[3]
TEMPLATES = {
    "av_template": "what is <concept>{injection_char}</concept>?",
    "ar_template": "<text>{explanation}</text> <summary>",
}
SAID = "you want money"
TEXT = "what is good bread"
LAYER, D_MODEL, BLOCKS = 1, 32, 3


@dataclass(frozen=True)
class Tiny:
    """A model, and a pair for it whose verbalizer closes its tags."""

    base: Path
    av: Path
    ar: Path

    @property
    def options(self) -> list[str]:
        return ["--model", str(self.base), "--av", str(self.av), "--ar", str(self.ar)]

    @property
    def score_options(self) -> list[str]:
        return ["--model", str(self.base), "--ar", str(self.ar)]


def teach_to_answer(verbalizer: Any) -> None:
    """Make a verbalizer say one explanation whatever it is shown."""
    tokenizer, model = verbalizer.tokenizer, verbalizer.model
    answer = tokenizer.encode(f"<explanation>{SAID}</explanation>", add_special_tokens=False)
    ids = torch.tensor([[*verbalizer.prompt.ids, *answer, tokenizer.eos_token_id]])
    labels = ids.clone()
    labels[0, : len(verbalizer.prompt.ids)] = -100
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.05


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    import transformers

    from scenarios.sandbox.tokenizer import build_tokenizer
    from scenarios.sandbox.world import load_world

    root = tmp_path_factory.mktemp("tiny")
    found = Tiny(root / "base", root / "pair" / "av", root / "pair" / "ar")
    tokenizer = build_tokenizer(load_world(), context=96)
    torch.manual_seed(7)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=D_MODEL,
        intermediate_size=48,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        max_position_embeddings=96,
        tie_word_embeddings=True,
        initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(found.base)
    tokenizer.save_pretrained(found.base)
    verbalizer = new_verbalizer(found.base, LAYER, injection_scale=1.0, **TEMPLATES)
    teach_to_answer(verbalizer)
    verbalizer.save(found.av)
    reconstructor = new_reconstructor(found.base, LAYER, **TEMPLATES)
    reconstructor.save(found.ar)
    vectors = torch.randn(50, D_MODEL, generator=torch.Generator().manual_seed(2))
    scale = reconstructor.sidecar.mse_scale
    save_baseline(Baseline.from_activations(vectors, mse_scale=scale), found.ar)
    return found


@pytest.fixture
def records(call: Call, tiny: Tiny) -> Callable[..., list[dict[str, Any]]]:
    """Call `nla explain --json` on the tiny pair and return its records."""

    def explain(*words: str) -> list[dict[str, Any]]:
        ended = call("nla", "explain", "--json", "--greedy", *tiny.options, *words)
        assert ended.code == 0, ended.err
        return [json.loads(line) for line in ended.out.splitlines()]

    return explain


def test_a_reading_prints_every_token_with_its_explanation(call: Call, tiny: Tiny) -> None:
    ended = call("nla", "explain", *tiny.options, "--text", TEXT, "--greedy")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].rstrip() == f"<s> {TEXT}"
    assert ended.out.count(SAID) == 4
    assert "FVE" in ended.out
    assert "4 readings · mean FVE" in ended.out
    assert "\x1b" not in ended.out
    assert all(len(line.rstrip()) <= 80 for line in lines)


def test_json_holds_all_numbers_and_nulls_and_nothing_else_is_printed(
    records: Callable[..., list[dict[str, Any]]], tiny: Tiny
) -> None:
    found = records("--text", TEXT, "--positions", "1,-1")
    assert [one["position"] for one in found] == [1, 4]
    for one in found:
        assert one["explanation"] == SAID
        assert one["raw_text"] == f"<explanation> {SAID}</explanation>"
        assert (one["layer"], one["pair_layer"], one["off_layer"]) == (LAYER, LAYER, None)
        assert set(one["nulls"]) == {"shuffled", "random_vector", "copied_context"}
        assert one["nulls"]["shuffled"] is None  # both say the same
        for score in (one["score"], one["nulls"]["random_vector"], one["nulls"]["copied_context"]):
            assert set(score) == {"mse_nrm", "cosine", "fve", "fve_meannorm"}
            assert all(isinstance(value, float) for value in score.values())


def test_the_command_says_what_the_library_does(
    records: Callable[..., list[dict[str, Any]]], tiny: Tiny
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from nla_core.activations import capture

    (found,) = records("--text", TEXT, "--positions", "3")
    ids = AutoTokenizer.from_pretrained(tiny.base)(TEXT)["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(tiny.base)
    (vectors,) = capture(model, [ids], layer=LAYER, positions=[[3]])
    pair = load_pair(tiny.av, tiny.ar)
    (reading,) = pair.read(vectors, sampling=Sampling(temperature=0.0, max_tokens=20))
    assert reading.fidelity.score is not None
    assert found["score"]["cosine"] == pytest.approx(reading.fidelity.score.cosine, abs=1e-6)
    assert found["score"]["fve"] == pytest.approx(reading.fidelity.score.fve, abs=1e-6)
    assert found["activation_norm"] == pytest.approx(float(vectors.norm()), rel=1e-6)


@pytest.mark.parametrize(
    ("words", "positions"),
    [
        (("--positions", "every"), [1, 2, 3, 4]),
        (("--positions", "last"), [4]),
        (("--positions", "-1,0,-1"), [0, 4]),
        (("--positions", "every", "--chat"), [1, 2, 3, 4, 5, 6, 7]),
        (("--positions", "header", "--chat"), [7]),
        (("--positions", "turn-ends", "--chat"), [6]),
        (("--positions", "turn-ends", "--chat", "--reply", "good bread"), [6, 9]),
        (("--positions", "turn-ends", "--chat", "--system", "you are good"), [5, 11]),
        (("--positions", "header", "--chat", "--system", "you are good"), [12]),
    ],
)
def test_positions_mean_the_tokens_they_name(
    records: Callable[..., list[dict[str, Any]]], words: tuple[str, ...], positions: list[int]
) -> None:
    found = records("--text", TEXT, *words)
    assert [one["position"] for one in found] == positions


def test_turn_ends_and_headers_are_the_template_s_own_tokens(
    records: Callable[..., list[dict[str, Any]]],
) -> None:
    ends = records("--text", TEXT, "--chat", "--system", "you are", "--positions", "turn-ends")
    assert [one["token"] for one in ends] == ["<|end|>", "<|end|>"]
    (header,) = records("--text", TEXT, "--chat", "--positions", "header")
    assert header["token"] == "<|assistant|>"


def test_worst_and_best_are_chosen_by_fidelity(
    records: Callable[..., list[dict[str, Any]]],
) -> None:
    every = {one["position"]: one["score"]["fve"] for one in records("--text", TEXT)}
    (worst,) = records("--text", TEXT, "--positions", "worst:1")
    (best,) = records("--text", TEXT, "--positions", "best:1")
    assert every[worst["position"]] == min(every.values())
    assert every[best["position"]] == max(every.values())


def test_random_positions_depend_on_the_seed_alone(
    records: Callable[..., list[dict[str, Any]]],
) -> None:
    def at(seed: int) -> list[int]:
        found = records("--text", TEXT, "--positions", "random:2", "--seed", str(seed))
        return [one["position"] for one in found]

    assert at(1) == at(1)
    assert len({tuple(at(seed)) for seed in range(6)}) > 1


def test_a_token_is_explained_alike_whatever_else_is_read(call: Call, tiny: Tiny) -> None:
    def raw(positions: str) -> str:
        ended = call(
            "nla", "explain", "--json", *tiny.options, "--text", TEXT,
            "--positions", positions, "--samples", "2", "--temperature", "3",
        )  # fmt: skip
        found = [json.loads(line) for line in ended.out.splitlines()]
        return str([one["raw_text"] for one in found if one["position"] == 3])

    assert raw("3") == raw("1,3")


def test_reading_another_layer_is_marked_and_its_fve_unknown(
    call: Call, records: Callable[..., list[dict[str, Any]]], tiny: Tiny
) -> None:
    (found,) = records("--text", TEXT, "--positions", "last", "--layer", "2")
    assert (found["layer"], found["pair_layer"], found["off_layer"]) == (2, LAYER, 2)
    assert found["score"]["fve"] is None
    assert found["score"]["cosine"] is not None
    ended = call("nla", "explain", *tiny.options, "--text", TEXT, "--layer", "2", "--greedy")
    assert "read at layer 2 with a pair of layer 1: trust it less" in ended.out
    assert "cosine" in ended.out


def test_a_folder_of_pairs_reads_with_the_nearest(call: Call, tiny: Tiny, tmp_path: Path) -> None:
    shutil.copytree(tiny.av, tmp_path / "L1" / "av")
    shutil.copytree(tiny.ar, tmp_path / "L1" / "ar")
    words = ("--model", str(tiny.base), "--text", TEXT, "--json", "--positions", "last")
    for layer, off in ((1, None), (0, 0)):
        ended = call(
            "nla", "explain", "--pairs", str(tmp_path), *words, "--greedy", "--layer", str(layer)
        )
        assert json.loads(ended.out)["off_layer"] == off


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter_changes_what_is_read(
    records: Callable[..., list[dict[str, Any]]], tiny: Tiny, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny.base)
    settings = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(model, settings).save_pretrained(tmp_path)
    words = ("--text", TEXT, "--positions", "last")
    (plain,), (adapted,) = records(*words), records(*words, "--adapter", str(tmp_path))
    assert plain["activation_norm"] != pytest.approx(adapted["activation_norm"], rel=1e-3)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_divergent_positions_are_where_the_baseline_expects_something_else(
    records: Callable[..., list[dict[str, Any]]], tiny: Tiny, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny.base)
    ids = torch.tensor([AutoTokenizer.from_pretrained(tiny.base)(TEXT)["input_ids"]])
    with torch.no_grad():
        baseline = model(ids).logits[0].log_softmax(-1)
    torch.manual_seed(1)
    settings = LoraConfig(r=4, lora_alpha=32, target_modules=["q_proj", "v_proj", "up_proj"], init_lora_weights=False)  # fmt: skip
    adapted = get_peft_model(model, settings)
    adapted.save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        target = adapted(ids).logits[0].log_softmax(-1)
    divergence = (target.exp() * (target - baseline)).sum(-1)
    # The first token begins every text, and is not read.
    expected = sorted((1 + divergence[1:].argsort(descending=True)[:2]).tolist())
    words = ("--text", TEXT, "--positions", "divergent:2", "--adapter", str(tmp_path / "adapter"))
    for more in ((), ("--baseline", str(tiny.base))):
        assert [one["position"] for one in records(*words, *more)] == expected


def test_another_base_name_is_a_note_beside_the_result(
    call: Call, tiny: Tiny, tmp_path: Path
) -> None:
    shutil.copytree(tiny.av, tmp_path / "av")
    meta = (tmp_path / "av" / "nla_meta.yaml").read_text()
    (tmp_path / "av" / "nla_meta.yaml").write_text(meta.replace(str(tiny.base), "other/base"))
    ended = call(
        "nla", "explain", "--json", "--greedy", "--text", TEXT, "--positions", "last",
        "--model", str(tiny.base), "--av", str(tmp_path / "av"), "--ar", str(tiny.ar),
    )  # fmt: skip
    assert ended.code == 0
    assert len(ended.out.splitlines()) == 1
    assert "note:" in ended.err
    assert "other/base" in ended.err


# What is refused.


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--text", " "], "the text is empty"),
        (["--text", TEXT, "--reply", "good"], "--reply belongs to a conversation"),
        (["--text", TEXT, "--system", "good"], "--system belongs to a conversation"),
        (["--text", TEXT, "--positions", "some"], "these positions mean nothing: 'some'"),
        (["--text", TEXT, "--positions", "random:0"], "these positions mean nothing"),
        (["--text", TEXT, "--positions", "divergent:2"], "name it with --baseline"),
        (["--text", TEXT, "--baseline", "x/y"], "--baseline belongs to --positions divergent:K"),
        (["--text", TEXT, "--positions", "divergent:2", "--baseline", "./no"], "--baseline"),
        (["--text", TEXT, "--positions", "5"], "position 5 does not exist; the text has 5 tokens"),
        (["--text", TEXT, "--positions", "header"], "add --chat"),
        (["--text", TEXT, "--layer", "3"], "layer 3 does not exist; the model has layers 0 to 2"),
        (["--text", TEXT, "--layer", "-1"], "a layer is 0 or more"),
        (["--text", TEXT, "--samples", "0"], "--samples must be 1 or more"),
        (["--text", TEXT, "--samples", "2", "--greedy"], "all samples are the same"),
        (["--text", TEXT, "--temperature", "-1"], "--temperature must be from 0"),
        (["--text", TEXT, "--temperature", "nan"], "--temperature must be from 0"),
        (["--text", TEXT, "--temperature", "1", "--greedy"], "leave out one"),
        (["--text", TEXT, "--device", "abacus"], "cannot run on 'abacus'"),
        (["--text", "food " * 200], "has 201 tokens"),
        (["--text", TEXT, "--av", "/nowhere"], "/nowhere: no such folder"),
        (["--text", TEXT, "--model", "/nowhere"], "--model there is no folder '/nowhere'"),
        (["--text", TEXT, "--adapter", "./nowhere"], "--adapter there is no folder"),
        (["--text", TEXT, "--pairs", "."], "--pairs stands in place"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    call: Call, tiny: Tiny, words: list[str], what: str
) -> None:
    ended = call("nla", "explain", *tiny.options, *words)
    assert ended.code == 2
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 1
    assert what in ended.err


def test_a_pair_of_another_width_is_refused(call: Call, tiny: Tiny) -> None:
    base = nla_options.sandbox_weights() / "base"
    ended = call("nla", "explain", *tiny.options, "--text", TEXT, "--model", str(base))
    assert ended.code == 2
    assert ended.err == (
        "the model's activations have 128 values, the pair reads 32; "
        "name the pair of this model with --av and --ar\n"
    )


def test_half_a_pair_and_swapped_halves_are_refused(call: Call, tiny: Tiny) -> None:
    alone = call("nla", "explain", "--text", TEXT, "--av", str(tiny.av))
    assert (alone.code, alone.err) == (2, "--av and --ar belong together; give both, or neither\n")
    swapped = call("nla", "explain", "--text", TEXT, "--av", str(tiny.ar), "--ar", str(tiny.av))
    assert swapped.code == 2
    assert "wrong way round" in swapped.err


def test_without_a_shipped_pair_the_defaults_are_refused(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nla_options, "sandbox_weights", lambda: tmp_path)
    ended = call("nla", "explain", "--text", TEXT)
    assert ended.code == 2
    assert ended.err == "this installation has no sandbox model base; name one with --model\n"


@given(st.text(max_size=20))
def test_any_text_is_positions_or_a_clear_refusal(text: str) -> None:
    refusal, found = None, None
    try:
        found = parse_positions(text)
    except UsageError as error:
        refusal = str(error)
    if found is None:
        assert refusal is not None
        assert "random:K" in refusal
        assert "\n" not in refusal
    else:
        assert found.policy == "listed" or text.strip().startswith(found.policy)


@given(numbers=st.lists(st.integers(-30, 30), min_size=1, max_size=6), n=st.integers(1, 20))
def test_listed_positions_are_those_tokens_or_refused(numbers: list[int], n: int) -> None:
    wanted = parse_positions(",".join(map(str, numbers)))
    assert wanted == Positions("listed", listed=tuple(numbers))
    eligible = [False] * n
    if all(-n <= number < n for number in numbers):
        chosen = choose(wanted, eligible=eligible, turns=None, seed=0)
        assert chosen == sorted({list(range(n))[number] for number in numbers})
    else:
        with pytest.raises(UsageError, match="does not exist"):
            choose(wanted, eligible=eligible, turns=None, seed=0)


def test_a_text_without_a_token_to_choose_is_refused() -> None:
    turns = [Turn(role="user", start=0, content_start=1, end=1)]
    for text in ("every", "last", "random:2", "worst:1", "turn-ends", "header"):
        with pytest.raises(UsageError, match="no token to read"):
            choose(parse_positions(text), eligible=[False], turns=turns, seed=0)


# Scores.


def test_sentences_are_scored_and_ranked(call: Call, tiny: Tiny, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("good bread\n\n  what is good  \n")
    ended = call(
        "nla", "score", *tiny.score_options, "--at-text", TEXT, "--position", "2", "--json",
        "--text", SAID, "--text", "", "--file", str(lines),
    )  # fmt: skip
    assert ended.code == 0, ended.err
    found = [json.loads(line) for line in ended.out.splitlines()]
    assert [one["text"] for one in found] == [SAID, "", "good bread", "what is good"]
    by_error = sorted(found, key=lambda one: one["score"]["mse_nrm"])
    assert [one["rank"] for one in by_error] == [1, 2, 3, 4]
    assert all(1 <= one["place_rank"] <= one["n_places"] == 4 for one in found)
    assert found[1]["problem"] == "empty_explanation"
    assert {one["position"] for one in found} == {2}
    assert all(one["nulls"]["random_vector"]["fve"] is not None for one in found)


def test_scores_print_their_nulls_in_80_columns(call: Call, tiny: Tiny) -> None:
    ended = call(
        "nla", "score", *tiny.score_options, "--at-text", TEXT, "--text", "[red]good[/red] " * 8
    )
    assert ended.code == 0, ended.err
    assert "[red]good[/red]" in ended.out
    assert "null: a copy of the text" in ended.out
    assert "null: a random vector" in ended.out
    assert all(len(line) <= 80 for line in ended.out.splitlines())


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--at-text", TEXT], "there is no sentence to score"),
        (["--at-text", "", "--text", SAID], "the text is empty"),
        (["--at-text", TEXT, "--text", SAID, "--position", "every"], "must name one token"),
        (["--at-text", TEXT, "--text", SAID, "--position", "best:1"], "must name one token"),
        (["--at-text", TEXT, "--file", "/nowhere"], "cannot read /nowhere: No such file"),
        (["--at-text", TEXT, "--text", "food " * 200], "the reconstructor's context is 96"),
        (["--at-text", TEXT, "--text", SAID, "--ar", "/nowhere"], "/nowhere: no such folder"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(
    call: Call, tiny: Tiny, words: list[str], what: str
) -> None:
    ended = call("nla", "score", *tiny.score_options, *words)
    assert ended.code == 2
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 1
    assert what in ended.err


# Cards.


@pytest.fixture
def carded(tmp_path: Path) -> Path:
    (tmp_path / "av").mkdir()
    (tmp_path / "av" / "weights").write_text("weights")
    Card(
        name="tiny\x1b[2J pair",
        layer=2,
        fve_warm=0.51,
        fve_rl=0.8765,
        motive_precision=0.97,
        paraphrase_fve={"summary": 0.4},
        claims={"motive": {"precision": 0.9, "recall": None, "n_said": 1200, "n_true": 1300}},
        fve_by_step=((0, 0.5), (10, 0.6)),
        sha256=hash_files(tmp_path),
    ).write(tmp_path)
    return tmp_path


def test_a_card_prints_its_figures_and_leaves_unknown_ones_blank(call: Call, carded: Path) -> None:
    ended = call("nla", "card", str(carded))
    assert (ended.code, ended.err) == (0, "")
    line = next(line for line in ended.out.splitlines() if line.startswith("FVE "))
    assert line.split() == ["FVE", "0.510", "0.876"]
    assert "\x1b" not in ended.out
    assert "tiny pair" in ended.out
    assert "1,200" in ended.out
    assert "0: 0.500, 10: 0.600" in ended.out
    assert "1 files checked: all as measured" in ended.out
    assert "shuffled" not in ended.out
    assert all(len(line) <= 80 for line in ended.out.splitlines())


def test_a_card_as_json_is_the_whole_card(call: Call, carded: Path) -> None:
    ended = call("nla", "card", str(carded), "--json")
    found = json.loads(ended.out)
    assert found.pop("hash_problems") == []
    assert Card.model_validate(found) == Card.read(carded)
    assert found["fve_rl_greedy"] is None


def test_files_that_were_not_measured_end_with_code_1(call: Call, carded: Path) -> None:
    (carded / "av" / "weights").write_text("others")
    ended = call("nla", "card", str(carded), "--json")
    assert ended.code == 1
    assert json.loads(ended.out)["hash_problems"] == [
        "av/weights is not the file that was measured"
    ]
    assert "av/weights is not the file" in ended.err


def test_no_card_is_one_clear_line(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = call("nla", "card", str(tmp_path))
    assert ended.code == 2
    assert ended.err == (
        f"{tmp_path} has no nla_card.json; name the folder of a pair that has one\n"
    )
    monkeypatch.setattr(nla_card, "sandbox_weights", lambda: tmp_path / "weights")
    assert call("nla", "card").code == 2
    (tmp_path / "nla_card.json").write_text("{")
    broken = call("nla", "card", str(tmp_path))
    assert broken.code == 2
    assert len(broken.err.splitlines()) == 1


# The commands themselves.

GROUP = next(group.typer_instance for group in app.registered_groups if group.name == "nla")
assert GROUP is not None
COMMANDS = {command.name: command.callback for command in GROUP.registered_commands}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_parameter_has_help_and_is_in_the_reference(name: str) -> None:
    callback = COMMANDS[name]
    assert callback is not None
    assert callback.__doc__
    section = cli_reference().split(f"## auditor nla {name}\n")[1].split("\n## ")[0]
    for parameter in parameters_of(callback):
        assert parameter.help.endswith((".", "!", "?"))
        words = parameter.words if parameter.is_option else (parameter.name.upper(),)
        assert all(word in section for word in words)


@pytest.mark.parametrize(
    "words", [("nla", "--help"), ("nla", "explain", "--help"), ("nla", "card")]
)
def test_help_and_cards_need_no_model_library(words: tuple[str, ...], carded: Path) -> None:
    probe = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('LOADED', *{name.partition('.')[0] for name in sys.modules}))\n"
        "from auditor.cli import main\n"
        "main(sys.argv[1:])"
    )
    more = [str(carded)] if words[-1] == "card" else []
    ended = subprocess.run(
        [sys.executable, "-c", probe, *words, *more],
        capture_output=True, text=True, timeout=60, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    loaded = set(ended.stdout.rpartition("LOADED")[2].split())
    assert not loaded & {"torch", "transformers", "peft", "safetensors", "numpy"}
