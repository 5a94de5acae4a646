"""A target that runs in this process through Transformers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from auditor.target.speller import Speller
from auditor.target.template import ChatTemplate, TemplateRefusal
from auditor.target.turns import turns_of
from nla_core.sampling import Generation, Sampling
from tools.protocols import (
    Capability,
    ChatMessage,
    Prompt,
    Reply,
    Steering,
    TokenLogprob,
    ToolError,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nla_core.positions import Turn
    from nla_core.steering import Addition

_T = TypeVar("_T")
_CAPABILITIES: frozenset[Capability] = frozenset(
    {"chat", "prefill", "sample_user", "complete", "logprobs", "activations"}
)


class HFTarget:
    """A chat model in memory; implements `tools.protocols.Target` and `Mind`.

    What an auditor can get wrong (turns that the template refuses, a prompt beyond the context)
    is raised as `ToolError`.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: ChatTemplate,
        session: Callable[[], AbstractContextManager["nn.Module"]],
        *,
        system_prompt: str | None = None,
        batch_size: int = 64,
    ) -> None:
        """Wrap a loaded model.

        Args:
            tokenizer: Its Transformers tokenizer.
            template: The tokenizer's chat template.
            session: Gives the model for one call, with the right adapter active.
            system_prompt: System text that comes before any of the caller's.
            batch_size: Rows run at once.
        """
        self._tokenizer = tokenizer
        self._template = template
        self._session = session
        self._system = system_prompt
        self._batch_size = batch_size
        self._spell = Speller(tokenizer)
        with session() as model:
            self._end_ids = frozenset(_end_ids(model, tokenizer))

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Everything."""
        return _CAPABILITIES

    def chat(
        self, prompts: Sequence[Prompt], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        """Sample the assistant's reply to each conversation."""
        return self._chat(prompts, sampling, seeds, additions=())

    def steered_chat(
        self,
        prompts: Sequence[Prompt],
        steerings: Sequence[Sequence[Steering]],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> list[Reply]:
        """Sample replies while the residual stream is changed (see `nla_core.steering`).

        Prompts of equal steerings are run together, once all steerings have been checked. Those
        that change nothing (there are none, or their strength is 0) get what `chat` gives. A
        prefill is part of the conversation, and a steering of the reply alone acts from its second
        token on.

        Args:
            prompts: Conversations.
            steerings: One sequence per prompt; those at the same layer add up.
            sampling: How to draw.
            seeds: One per prompt.

        Returns:
            One reply per prompt, in order.

        Raises:
            ToolError: When a layer does not exist, a vector does not fit or is not finite, the
                arguments differ in number, or a prompt is too long.
        """
        if not len(prompts) == len(steerings) == len(seeds):
            raise ToolError(
                f"{len(prompts)} prompts need as many steerings and seeds, "
                f"got {len(steerings)} and {len(seeds)}"
            )
        replies: dict[int, Reply] = {}
        for additions, members in self._groups(steerings):
            chosen = [prompts[i] for i in members]
            drawn = self._chat(chosen, sampling, [seeds[i] for i in members], additions=additions)
            replies.update(zip(members, drawn, strict=True))
        return [replies[i] for i in range(len(prompts))]

    def _chat(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        *,
        additions: Sequence["Addition"],
    ) -> list[Reply]:
        rows, ends = [self._encode(p) for p in prompts], (self._template.reply_end,)
        drawn = self._generate(rows, sampling, seeds, ends=ends, additions=additions)
        return [
            _reply(g, self._spell.restarted(g) if not p.prefill else g.text, p.prefill)
            for p, g in zip(prompts, drawn, strict=True)
        ]

    def sample_user(
        self,
        histories: Sequence[Sequence[ChatMessage]],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> list[Reply]:
        """Sample the next user turn of each conversation, which may be empty."""
        rows = [self._ids(_rendered(self._template.user_text, h, self._system)) for h in histories]
        ends = (self._template.user_end, self._template.reply_end)
        drawn = self._generate(rows, sampling, seeds, ends=ends)
        return [_reply(g, self._spell.restarted(g), "") for g in drawn]

    def complete(
        self, texts: Sequence[str], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        """Continue raw text; it is tokenized as in pretraining, with BOS where there is one."""
        drawn = self._generate([self._encode(text) for text in texts], sampling, seeds, ends=())
        return [_reply(g, g.text, text) for g, text in zip(drawn, texts, strict=True)]

    @property
    def tokenizer(self) -> Any:
        """The model's Transformers tokenizer."""
        return self._tokenizer

    def continue_rendered(self, text: str, *, sampling: Sampling, seed: int) -> Reply:
        """Continue a text that was rendered by the chat template, to the end of the turn.

        Raises:
            PromptTooLongError: When it leaves no room in the model's context.
        """
        ends = (self._template.reply_end,)
        with self._session() as model:
            (drawn,) = self._draw(model, [self._ids(text)], sampling, [seed], ends=ends)
        return _reply(drawn, self._spell.restarted(drawn), "")

    def next_token_logprobs(
        self, prompts: Sequence[Prompt], *, top: int
    ) -> list[list[TokenLogprob]]:
        """Log-probabilities (nats) of the `top` likeliest first tokens of each reply."""
        from nla_core import decoding

        if top < 1:
            raise ToolError(f"top must be 1 or more, got {top}")
        rows = [self._encode(p) for p in prompts]
        with self._session() as model, _told_to_auditor():
            table = decoding.next_token_logprobs(model, rows, batch_size=self._batch_size)
        best = table.topk(min(top, table.shape[-1]), dim=-1)
        return [
            [TokenLogprob(self._spell([i]), i, v) for i, v in zip(ids, values, strict=True)]
            for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def activations(
        self,
        inputs: Sequence[Prompt | str],
        *,
        layer: int,
        positions: Sequence[Sequence[int]] | None = None,
    ) -> list["Tensor"]:
        """Return the residual stream after block `layer` (0-based, before any norm).

        Args:
            inputs: Conversations (a prefill stands for the reply's beginning), or raw texts.
            layer: 0-based decoder block.
            positions: Positions among `token_ids` of each input; None: all.

        Returns:
            One float32 CPU tensor `[n_positions, d_model]` per input.

        Raises:
            ToolError: When the layer or a position does not exist, or an input is too long.
        """
        from nla_core.activations import capture

        rows = self.token_ids(inputs)
        with self._session() as model, _told_to_auditor():
            return capture(
                model, rows, layer=layer, positions=positions, batch_size=self._batch_size
            )

    def token_logprobs(self, inputs: Sequence[Prompt | str]) -> list["Tensor"]:
        """Return log-probabilities (nats) of what follows each token of each input.

        The result takes `4 * vocab` bytes per token (a text of 1,000 tokens, 600 MB at a
        vocabulary of 150,000), so give few inputs at once. What is computed beside it is bounded,
        see `nla_core.logprobs`.

        Returns:
            One float32 CPU tensor `[token, vocab]` per input.

        Raises:
            ToolError: When an input is too long.
        """
        from nla_core import logprobs

        rows = self.token_ids(inputs)
        with self._session() as model, _told_to_auditor():
            return logprobs.token_logprobs(model, rows, batch_size=self._batch_size)

    @property
    def depth(self) -> int:
        """Number of decoder blocks."""
        from nla_core import arch

        with self._session() as model, _told_to_auditor():
            return len(arch.blocks(model))

    def unembed(self, vectors: "Tensor") -> "Tensor":
        """Return `[n, vocab]` log-probabilities (nats) of vectors `[n, d_model]`, see `lens`.

        Raises:
            ToolError: When they are of another width.
        """
        from nla_core import lens

        with self._session() as model, _told_to_auditor():
            return lens.unembed(model, vectors)

    def turns(self, inputs: Sequence[Prompt | str]) -> list[tuple["Turn", ...]]:
        """Return the turns of each conversation in token positions; none of a raw text.

        The last one is the assistant's, whose content is the prefill and may be empty. System
        texts that the template folds into a user's turn are part of that turn's header.

        Raises:
            ToolError: When the template refuses the turns.
        """
        return [
            () if isinstance(value, str) else _rendered(self._turns_of, value) for value in inputs
        ]

    def _turns_of(self, prompt: Prompt) -> tuple["Turn", ...]:
        return turns_of(
            prompt, template=self._template, tokenizer=self._tokenizer, system=self._system
        )

    def token_ids(self, inputs: Sequence[Prompt | str]) -> list[list[int]]:
        """Return the token ids that the model sees for each conversation or raw text."""
        return [self._encode(value) for value in inputs]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Spell single tokens, leading spaces kept."""
        return [self._spell([i]) for i in ids]

    def _groups(
        self, steerings: Sequence[Sequence[Steering]]
    ) -> list[tuple[list["Addition"], list[int]]]:
        """Check all steerings; return each distinct set and the prompts that it is for."""
        from nla_core.steering import Addition, check_additions

        groups: dict[object, tuple[list[Addition], list[int]]] = {}
        with self._session() as model, _told_to_auditor():
            for index, row in enumerate(steerings):
                additions = [Addition(s.layer, _strong(s), s.where) for s in row]
                check_additions(model, additions)
                kept = [a for a in additions if bool(a.vector.any())]
                key = tuple((a.layer, a.where, a.vector.numpy().tobytes()) for a in kept)
                groups.setdefault(key, (kept, []))[1].append(index)
        return list(groups.values())

    def _generate(
        self,
        rows: list[list[int]],
        sampling: Sampling,
        seeds: Sequence[int],
        *,
        ends: Sequence[Any],
        additions: Sequence["Addition"] = (),
    ) -> list[Generation]:
        from nla_core.steering import steered

        with self._session() as model, _told_to_auditor(), steered(model, additions):
            return self._draw(model, rows, sampling, seeds, ends=ends)

    def _draw(
        self,
        model: "nn.Module",
        rows: list[list[int]],
        sampling: Sampling,
        seeds: Sequence[int],
        *,
        ends: Sequence[Any],
    ) -> list[Generation]:
        from nla_core import decoding

        ids = {end.token_id for end in ends if end.token_id is not None}
        strings = tuple(dict.fromkeys(end.text for end in ends if end.text is not None))
        return decoding.generate(
            model,
            rows,
            sampling=replace(sampling, stop=sampling.stop + strings),
            seeds=seeds,
            decode=self._spell,
            stop_ids=self._end_ids | ids,
            batch_size=self._batch_size,
        )

    def _encode(self, value: Prompt | str) -> list[int]:
        if isinstance(value, Prompt):
            text = self._template.reply_text
            return self._ids(_rendered(text, value.messages, value.prefill, self._system))
        ids: list[int] = self._tokenizer(value)["input_ids"]
        # Some tokenizers close every text; a text to be continued is open.
        while ids and ids[-1] == self._tokenizer.eos_token_id and not self._ends_with_eos(value):
            ids = ids[:-1]
        if ids:
            return ids
        start = self._tokenizer.bos_token_id
        start = self._tokenizer.eos_token_id if start is None else start
        if start is None:
            raise ToolError("this model has no token that starts a text; give a non-empty text")
        return [start]

    def _ends_with_eos(self, text: str) -> bool:
        return text.endswith(str(self._tokenizer.eos_token))

    def _ids(self, rendered: str) -> list[int]:
        """Encode rendered text, in which the template has already written any BOS."""
        ids: list[int] = self._tokenizer(rendered, add_special_tokens=False)["input_ids"]
        return ids


@contextmanager
def _told_to_auditor() -> Iterator[None]:
    """Turn refused arguments into errors that the auditor reads."""
    try:
        yield
    except ValueError as error:
        raise ToolError(str(error)) from error


def _rendered(render: Callable[..., _T], *args: Any) -> _T:
    try:
        return render(*args)
    except TemplateRefusal as error:
        raise ToolError(str(error)) from None


def _strong(steering: Steering) -> "Tensor":
    """Return the vector at its strength, float32 on the CPU."""
    return steering.vector.detach().float().cpu() * steering.strength


def _reply(drawn: Generation, text: str, prefill: str) -> Reply:
    return Reply(text=text, prefill=prefill, n_tokens=len(drawn.token_ids), finish=drawn.finish)


def _end_ids(model: Any, tokenizer: Any) -> set[int]:
    """Tokens that end any text: those of the generation config, and the tokenizer's own."""
    found = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = set(found) if isinstance(found, list | tuple) else {found}
    return {int(i) for i in ids | {tokenizer.eos_token_id} if i is not None}
