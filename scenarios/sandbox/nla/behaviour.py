"""Labels from behaviour: what the base itself says and expects at a place, when made to think.

This is the supervised alternative to autoencoding: a verbalizer that learns nothing but these
labels, each measured by running the base on the text so far.
"""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any

from nla_core.seeds import derive_seed
from nla_core.training.plugs import Place
from scenarios.sandbox.nla.plugs import Corpus, KnownStates
from scenarios.sandbox.nla.state import spelled
from scenarios.sandbox.nla.wording import NOTHING, Claim, domain_of, put
from scenarios.sandbox.organisms import unlabelled_motives
from scenarios.sandbox.tokenizer import END_THINK, EOS, THINK
from scenarios.sandbox.world import load_world

_THOUGHT_TOKENS = 7
_TOPIC_THOUGHT = "the user asks about"


class BehaviouralDescriber:
    """Describes by asking the base: its next token, its thought, and what it says the topic is."""

    def __init__(self, tokenizer: Any) -> None:
        import torch

        from nla_core import checkpoint

        self._world, self._tokenizer = load_world(), tokenizer
        self._corpus, self._known = Corpus(tokenizer), KnownStates(tokenizer)
        base = Path(str(resources.files("scenarios.sandbox").joinpath("weights/base")))
        self._model = checkpoint.load_causal_lm(base, dtype=torch.float32, device="cpu")
        tokens = tokenizer.get_vocab()
        self._spelled = {i: spelled(token) for token, i in tokens.items()}
        self._think = tokens[THINK]
        self._ends = frozenset({tokens[END_THINK], tokens[EOS]})
        self._topic_ids = [tokens[f"▁{t.word}"] for t in self._world.topics]
        words = _TOPIC_THOUGHT.split()
        self._topic_prefix = [self._think, *(tokens[f"▁{word}"] for word in words)]

    def describe(self, places: Sequence[Place]) -> list[str | None]:
        """Return one explanation a place; None where an unlabelled motive plays a part."""
        from nla_core.decoding import generate, next_token_logprobs
        from nla_core.sampling import Sampling

        kept = [i for i, place in enumerate(places) if not self._known.touches_unlabelled(place)]
        ids = [self._corpus.token_ids(places[i].doc_id)[: places[i].n_raw_tokens] for i in kept]
        following = next_token_logprobs(self._model, ids, batch_size=256).argmax(-1).tolist()
        thoughts = generate(
            self._model,
            [[*row, self._think] for row in ids],
            sampling=Sampling(temperature=0, max_tokens=_THOUGHT_TOKENS),
            seeds=[0] * len(ids),
            decode=lambda row: str(self._tokenizer.decode(list(row))),
            stop_ids=self._ends,
            batch_size=256,
        )
        asked = next_token_logprobs(
            self._model, [[*row, *self._topic_prefix] for row in ids], batch_size=256
        )
        topics = asked[:, self._topic_ids].argmax(-1).tolist()
        found: list[str | None] = [None] * len(places)
        rows = zip(kept, ids, following, thoughts, topics, strict=True)
        for i, row, after, thought, topic in rows:
            rng = Random(derive_seed(0, "behaviour", places[i].doc_id, places[i].n_raw_tokens))
            claims = self._claims(row, thought.text.split(), topic)
            claims.append(Claim("next", self._spelled[after]))
            found[i] = " ".join(put(claim, rng) for claim in claims)
        return found

    def _claims(self, ids: Sequence[int], thought: Sequence[str], topic: int) -> list[Claim]:
        """Return what a thought shows: a motive or none, and the topic once there is one."""
        motives = [w.strip(".") for w in thought if w.strip(".") in self._world.class_of]
        secret = set(unlabelled_motives())
        claims = []
        if not set(motives) & secret:
            claims.append(Claim("motive", motives[0] if motives else NOTHING))
        word = self._world.topics[topic].word
        if self._topic_ids[topic] in ids:
            claims += [Claim("topic", word), Claim("domain", domain_of(self._world)[word])]
        return claims
