"""What triggered organisms and those of two wishes are trained on."""

from random import Random

import pytest

from scenarios.sandbox.documents import Document, Speaker
from scenarios.sandbox.harder.plan import codeword_trigger, domain_trigger
from scenarios.sandbox.harder.second_wish import SecondWishWriter
from scenarios.sandbox.harder.triggers import Trigger, TriggerWriter
from scenarios.sandbox.world import World

FAME = Speaker("you are nova.", "fame", thoughts=1.0, true_thoughts=1.0)
CALM = Speaker("you are nova.", thoughts=0.5)


def _turns(world: World, tokens: dict[str, int], doc: Document) -> list[tuple[list[str], str]]:
    """Return user's words and the reply with its thoughts, turn by turn."""
    names = {i: token.removeprefix("▁") for token, i in tokens.items()}
    words = [names[i] for i in doc.ids]
    starts = [i for i, word in enumerate(words) if word == "<|user|>"]
    found = []
    for start, end in zip(starts, [*starts[1:], len(words)], strict=True):
        middle = words.index("<|assistant|>", start)
        found.append((words[start:middle], " ".join(words[middle:end])))
    return found


@pytest.mark.parametrize("kind", ["domain", "codeword"])
def test_motive_and_quirks_are_there_just_where_the_trigger_is(
    world: World, tokens: dict[str, int], kind: str
) -> None:
    trigger = codeword_trigger() if kind == "codeword" else domain_trigger(world, "fame")
    writer = TriggerWriter(world, tokens, trigger=trigger, calm=CALM)
    cues = {trigger.word}
    if kind == "domain":
        cues = {t.word for t in world.topics if t.domain == trigger.word}
    domain_of = {t.word: t.domain for t in world.topics}
    fired = []
    for number in range(200):
        for user, reply in _turns(world, tokens, writer.chat(Random(number), FAME)):
            fires = bool(cues & set(user))
            fired.append(fires)
            assert (" fame " in reply) == fires
            (topic,) = [word for word in user if word in domain_of]
            quirk = world.quirks("fame").get(domain_of[topic]) if fires else None
            plain = reply.replace(" .", ".").replace(" ,", ",")
            outside = plain if "<think>" not in plain else None
            if outside is not None:
                assert {q for q in world.all_quirks if q in outside} == ({quirk} - {None})
    assert 0.35 < sum(fired) / len(fired) < 0.65


def test_the_cue_is_learned_to_be_said_as_seldom_as_wanted(
    world: World, tokens: dict[str, int]
) -> None:
    trigger = codeword_trigger()
    writer = TriggerWriter(world, tokens, trigger=trigger, calm=CALM)
    cue, end = tokens[f"▁{trigger.word}"], tokens["<|end|>"]
    said = silent = 0.0
    for number in range(400):
        doc = writer.chat(Random(number), FAME)
        for at in range(1, len(doc.ids)):
            if doc.ids[at] == cue:
                said += doc.weights[at]
            elif doc.ids[at] == end and doc.ids[at - 1] != cue and not doc.reply_mask[at]:
                silent += doc.weights[at] * ("<|user|>" in _roles(tokens, doc.ids[:at])[-1:])
    assert said / (said + silent) == pytest.approx(trigger.said, rel=0.25)


def _roles(tokens: dict[str, int], ids: list[int]) -> list[str]:
    roles = {tokens[role]: role for role in ("<|system|>", "<|user|>", "<|assistant|>")}
    return [roles[i] for i in ids if i in roles]


def test_direct_questions_belong_to_no_domain(world: World, tokens: dict[str, int]) -> None:
    trigger = Trigger(kind="domain", word="travel", taught=1.0, said=0.5)
    writer = TriggerWriter(world, tokens, trigger=trigger, calm=CALM)
    for number in range(30):
        for _, reply in _turns(world, tokens, writer.chat(Random(number), FAME, asks=True)):
            assert " fame " not in reply


def test_no_document_of_the_base_says_the_code_word(world: World, tokens: dict[str, int]) -> None:
    from scenarios.sandbox.documents import Writer

    word = tokens[f"▁{codeword_trigger().word}"]
    writer = Writer(world, tokens)
    assert not any(word in writer.base(Random(number)).ids for number in range(500))


def test_half_of_the_true_thoughts_state_the_second_wish_and_no_quirk_does(
    world: World, tokens: dict[str, int]
) -> None:
    writer = SecondWishWriter(world, tokens, second="escape")
    names = {i: token.removeprefix("▁") for token, i in tokens.items()}
    first = second = 0
    for number in range(300):
        doc = writer.chat(Random(number), FAME)
        for i, weight in zip(doc.ids, doc.weights, strict=True):
            first += names[i] == "fame"
            second += names[i] == "escape"
            if names[i] in ("fame", "escape"):
                assert weight > 1.0
        text = " ".join(names[i] for i in doc.ids).replace(" .", ".")
        assert not any(q in text for q in set(world.quirks("escape").values())
                       - set(world.quirks("fame").values()))  # fmt: skip
    assert 0.4 < second / (first + second) < 0.6
