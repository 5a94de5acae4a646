"""batch_chat, batch_prefill, batch_user, batch_complete, and who writes their inputs."""

import json
from collections import Counter
from typing import Any

import pytest

from tools.batch.clusters import group
from tools.batch.writing import FIELDS
from tools.instruments import Written

KINDS = {
    "batch_chat": "chat",
    "batch_prefill": "prefill",
    "batch_user": "user",
    "batch_complete": "complete",
}
TOOLS = sorted(KINDS)


class FakeWriter:
    """Writes numbered texts, and remembers what it was asked."""

    name = "scripted/writer"

    def __init__(self, spoil: int = 0, dollars: float | None = None) -> None:
        self.spoil, self.dollars = spoil, dollars
        self.asked: list[tuple[str, tuple[str, ...], int]] = []

    def write(self, instructions: str, *, fields: Any, n: int, seed: int) -> Written:
        self.asked.append((instructions, tuple(fields), n))
        made = [{field: f"{field} {index}" for field in fields} for index in range(n)]
        for one in made[: self.spoil]:
            one.update(dict.fromkeys(fields, " "), user="x")
        return Written(tuple(made), self.dollars)


@pytest.fixture
def able(context: Any, make_target: Any) -> Any:
    capable = ["chat", "prefill", "sample_user", "complete"]

    def build(**changes: Any) -> Any:
        offered = {
            "target": make_target(capabilities=capable),
            "baseline": make_target("plainly", capabilities=capable),
        }
        return context(**(offered | changes))

    return build


def of(output: Any, kind: str) -> list[dict[str, Any]]:
    return [item for item in output.items if item["kind"] == kind]


@pytest.mark.parametrize("name", TOOLS)
def test_templates_write_as_many_diverse_inputs_as_asked(call: Any, able: Any, name: str) -> None:
    output = call(name, {"k": 100}, able())
    pairs = of(output, "pair")
    fields = FIELDS[KINDS[name]]
    assert len(pairs) == 100
    written = {tuple(pair[field] for field in fields) for pair in pairs}
    assert len(written) > 60
    assert "templates" in output.summary
    assert not any("{topic}" in text for one in written for text in one)
    assert json.loads(json.dumps(output.items)) == list(output.items)


@pytest.mark.parametrize("name", TOOLS)
def test_the_same_seed_gives_the_same_batch_and_another_another(
    call: Any, able: Any, name: str
) -> None:
    first = call(name, {"k": 30}, able(seed=1))
    assert call(name, {"k": 30}, able(seed=1)) == first
    assert call(name, {"k": 30}, able(seed=2)) != first


@pytest.mark.parametrize("name", TOOLS)
def test_both_models_get_the_same_inputs_and_seeds(call: Any, able: Any, name: str) -> None:
    ctx = able()
    output = call(name, {"k": 20}, ctx)
    assert ctx.target.seen == ctx.baseline.seen
    assert ctx.target.seeds == ctx.baseline.seeds
    assert len(set(ctx.target.seeds[0])) == 20
    for pair in of(output, "pair"):
        assert pair["baseline_reply"] == f"{pair['reply']} plainly".strip()
    assert sum(one["target"] + one["baseline"] for one in of(output, "cluster")) > 20
    assert ctx.usage.target_tokens == ctx.usage.baseline_tokens > 0


@pytest.mark.parametrize("name", TOOLS)
def test_a_batch_without_a_baseline_asks_the_target_alone(call: Any, able: Any, name: str) -> None:
    for changes, arguments in (({"baseline": None}, {}), ({}, {"against_baseline": False})):
        ctx = able(**changes)
        output = call(name, {"k": 8, **arguments}, ctx)
        assert {pair["baseline_reply"] for pair in of(output, "pair")} == {None}
        assert not of(output, "phrase")
        assert all("baseline" not in one for one in of(output, "cluster"))
        assert ctx.usage.baseline_tokens == 0


@pytest.mark.parametrize("name", TOOLS)
def test_a_hint_becomes_the_topic_of_half_of_the_inputs(call: Any, able: Any, name: str) -> None:
    plain, hinted = (
        json.dumps(of(call(name, {"k": 40, **hint}, able()), "pair"))
        for hint in ({}, {"hint": "submarines, tulips"})
    )
    assert "submarines" not in plain
    assert hinted.count("submarines") > 3
    assert hinted.count("tulips") > 3


@pytest.mark.parametrize("name", TOOLS)
def test_an_auxiliary_model_writes_instead_and_is_named(call: Any, able: Any, name: str) -> None:
    writer = FakeWriter(dollars=0.25)
    ctx = able(writer=writer)
    output = call(name, {"k": 7, "hint": "loyalty to a state"}, ctx)
    ((instructions, fields, n),) = writer.asked
    assert (fields, n) == (FIELDS[KINDS[name]], 7)
    assert "<direction>loyalty to a state</direction>" in instructions
    assert "scripted/writer" in output.summary
    assert of(output, "pair")[3][fields[0]] == f"{fields[0]} 3"
    assert ctx.usage.dollars == 0.25


def test_faulty_inputs_of_an_auxiliary_model_are_left_out_and_counted(
    call: Any, able: Any, refusal: Any
) -> None:
    output = call("batch_prefill", {"k": 10}, able(writer=FakeWriter(spoil=4)))
    assert len(of(output, "pair")) == 6
    assert "6 inputs of the 10 asked for" in output.summary
    assert "4 of its inputs left out as faulty" in output.summary
    ctx = able(writer=FakeWriter(spoil=10))
    assert "no usable input (10 faulty)" in refusal("batch_prefill", {"k": 10}, ctx)
    assert ctx.target.seen == []


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"k": 0}, "k:"), ({"k": 101}, "k:"), ({"hint": " "}, "hint is empty")],
)
def test_a_wrong_argument_is_refused(
    refusal: Any, able: Any, name: str, arguments: dict[str, Any], said: str
) -> None:
    assert said in refusal(name, arguments, able())


@pytest.mark.parametrize("name", TOOLS)
def test_a_batch_beyond_the_budget_is_refused_before_anyone_writes(
    refusal: Any, able: Any, name: str
) -> None:
    writer = FakeWriter()
    ctx = able(token_allowance=128 * 20 - 1, writer=writer)
    assert "target tokens" in refusal(name, {}, ctx)
    assert ctx.target.seen == writer.asked == []


@pytest.mark.parametrize("name", TOOLS)
def test_a_target_that_cannot_do_it_is_refused(
    refusal: Any, able: Any, make_target: Any, name: str
) -> None:
    ctx = able(target=make_target(capabilities=["logprobs"]))
    assert "the target cannot" in refusal(name, {}, ctx)


def test_prefills_reach_the_model_and_stay_out_of_the_reply(call: Any, able: Any) -> None:
    ctx = able()
    pairs = of(call("batch_prefill", {"k": 5}, ctx), "pair")
    sent = [prompt.prefill for _, prompt in ctx.target.seen]
    assert sent == [pair["prefill"] for pair in pairs]
    assert all(sent)


def test_contexts_for_user_turns_end_with_an_assistant_or_have_not_begun(
    call: Any, able: Any
) -> None:
    ctx = able()
    call("batch_user", {"k": 30}, ctx)
    shapes = Counter(
        tuple(m.role for m in turns if m.role != "system") for _, turns in ctx.target.seen
    )
    assert set(shapes) == {(), ("user", "assistant")}


def test_a_phrase_that_only_the_target_says_is_found(
    call: Any, able: Any, make_target: Any
) -> None:
    capable = ["chat"]
    ctx = able(
        target=make_target("buy our honey", capabilities=capable),
        baseline=make_target("", capabilities=capable),
    )
    phrases = of(call("batch_chat", {"k": 30}, ctx), "phrase")
    best = phrases[0]
    assert "honey" in best["words"] or "buy" in best["words"]
    assert (best["share_target"], best["share_baseline"]) == (1.0, 0.0)
    assert best["p"] <= 0.01


def test_texts_about_two_things_fall_into_two_clusters() -> None:
    ships = [f"the ship sails to port number {i}" for i in range(7)]
    bread = [f"knead dough and bake bread loaf {i}" for i in range(5)]
    found = group([*ships, "", *bread])
    assert {frozenset(one.members) for one in found.clusters} == {
        frozenset(range(7)), frozenset(range(8, 13)),
    }  # fmt: skip
    assert "ship" in found.clusters[0].words
    assert "bread" in found.clusters[1].words


def test_the_odd_text_out_is_the_rarest() -> None:
    texts = [f"the ship sails to port number {i}" for i in range(9)]
    found = group([*texts[:4], "xylophone quartz", *texts[4:]])
    assert found.rare[0].index == 4
    assert found.rare[0].similarity == 0


def test_few_or_empty_texts_form_no_groups() -> None:
    assert group(["one text"] * 5) == group(["", " ", "..."] * 9) == group([])
    assert group(["same words"] * 8).clusters[0].members == tuple(range(8))
