"""A target behind a provider: it can be talked to, and not looked into."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from auditor.provider.factory import ProviderSettings
from auditor.provider.names import parse_name
from auditor.provider.protocol import Completion, Message, Provider, Request
from auditor.scenario.schema import LanguageModel, ServedModel
from nla_core.sampling import FinishReason, Sampling
from tools.protocols import (
    Capability,
    ChatMessage,
    Prompt,
    Reply,
    TokenLogprob,
    ToolError,
)

HOTTEST = 2.0
"""Highest temperature that servers take."""
_SEED_BITS = 31
"""Servers take seeds of 32 bits with a sign."""


def served_capabilities(model: ServedModel) -> frozenset[Capability]:
    """Return what a model behind a provider can do, by its settings alone."""
    return frozenset({"chat", "prefill", "complete"} if model.continues_text else {"chat"})


class ServedTarget:
    """A model behind a provider; implements `tools.protocols.Target`.

    Rows of a batch are asked side by side, as far as `concurrency` and the server allow. Servers of
    Chat Completions are given each row's seed, which many ignore; no seed is promised otherwise.
    What the auditor can get wrong is raised as `ToolError`, which never names the model.
    """

    def __init__(self, model: ServedModel, *, settings: ProviderSettings) -> None:
        """Prepare, without connecting.

        Args:
            model: Where it is.
            settings: Cache and limits of the run.

        Raises:
            UsageError: When it cannot be asked from here.
        """
        self._model, self._settings = model, settings
        self._scheme = parse_name(model.name).scheme
        # Claude takes no sampling parameters, but for older models, whose scenario names one.
        self._fixed = self._scheme == "anthropic" and model.temperature is None
        self._provider(Sampling(), 0)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Chat, and continuing text where the server does."""
        return served_capabilities(self._model)

    def chat(
        self, prompts: Sequence[Prompt], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        """Sample the assistant's reply to each conversation.

        Raises:
            ToolError: When the turns, the sampling or a prefill are not possible here.
            ProviderError: When no reply can be had; an `OutageError` when nobody gets one.
        """
        if any(prompt.prefill for prompt in prompts) and "prefill" not in self.capabilities:
            raise ToolError("this target cannot continue a reply that was begun for it")
        requests = [
            self._request(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)
        ]

        def one(index: int) -> Reply:
            prompt, seed = prompts[index], seeds[index]
            provider = self._provider(sampling, seed, continuing=bool(prompt.prefill))
            reply = provider.complete(requests[index])
            return _reply(reply, prompt.prefill, sampling)

        return self._side_by_side(one, len(prompts))

    def complete(
        self, texts: Sequence[str], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        """Continue raw text, without a chat template.

        Raises:
            ToolError: When the server does not do that, or a text is too long.
            ProviderError: When no reply can be had; an `OutageError` when nobody gets one.
        """
        if "complete" not in self.capabilities:
            raise ToolError("this target cannot continue raw text")

        def one(index: int) -> Reply:
            provider = self._provider(sampling, seeds[index], raw_text=True)
            text = Message.user(texts[index])
            request = Request(system="", messages=(text,), trial=seeds[index])
            return _reply(provider.complete(request), texts[index], sampling)

        return self._side_by_side(one, len(texts))

    def sample_user(
        self,
        histories: Sequence[Sequence[ChatMessage]],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> list[Reply]:
        """Refuse: a chat server writes the assistant's turns alone."""
        raise ToolError("this target cannot write the user's turns")

    def next_token_logprobs(
        self, prompts: Sequence[Prompt], *, top: int
    ) -> list[list[TokenLogprob]]:
        """Refuse: servers give no logits."""
        raise ToolError("this target gives no log-probabilities")

    def _check(self, sampling: Sampling) -> None:
        if sampling.temperature > HOTTEST:
            raise ToolError(f"this target takes temperatures up to {HOTTEST:g}")
        chosen = sampling.temperature != 1.0 or sampling.top_p != 1.0
        if chosen and self._fixed:
            raise ToolError("this target's sampling cannot be chosen; use temperature 1")

    def _request(self, prompt: Prompt, seed: int) -> Request:
        own = [self._model.system_prompt] if self._model.system_prompt else []
        messages = prompt.messages
        n_system = next((i for i, m in enumerate(messages) if m.role != "system"), len(messages))
        if any(message.role == "system" for message in messages[n_system:]):
            raise ToolError("system text must come before all other turns")
        turns = [_message(message.role, message.content) for message in messages[n_system:]]
        if not turns:
            raise ToolError("a conversation needs a user turn")
        if self._scheme == "anthropic" and not all(m.content.strip() for m in messages):
            raise ToolError("this target takes no empty turns; write some words")
        if prompt.prefill:
            turns.append(_message("assistant", prompt.prefill))
        system = "\n\n".join(own + [message.content for message in messages[:n_system]])
        return Request(system=system, messages=tuple(turns), trial=seed)

    def _provider(
        self, sampling: Sampling, seed: int, *, continuing: bool = False, raw_text: bool = False
    ) -> Provider:
        """Make the provider of one row; connections and gates are shared by all."""
        self._check(sampling)
        asked = self._asked(sampling, seed, continuing=continuing)
        return self._settings.make(asked, "target", raw_text=raw_text)

    def _asked(self, sampling: Sampling, seed: int, *, continuing: bool) -> LanguageModel:
        """Return the settings with what this row wants of them."""
        extra: dict[str, Any] = {}
        if self._scheme == "openai":
            extra["seed"] = seed % 2**_SEED_BITS
            extra |= {"stop": list(sampling.stop)} if sampling.stop else {}
            extra |= {"top_p": sampling.top_p} if sampling.top_p != 1.0 else {}
        elif sampling.stop:
            extra["stop_sequences"] = list(sampling.stop)
        if continuing:
            # How vLLM and SGLang are told that the last turn is not finished.
            extra |= {"continue_final_message": True, "add_generation_prompt": False}
        settings = self._model.model_dump(exclude={"continues_text", "system_prompt"})
        return LanguageModel.model_validate(
            settings
            | {
                "max_tokens": sampling.max_tokens,
                "temperature": None if self._fixed else sampling.temperature,
                "extra_body": extra | self._model.extra_body,
            }
        )

    def _side_by_side(self, one: Callable[[int], Reply], n_rows: int) -> list[Reply]:
        if n_rows == 0:
            return []
        with ThreadPoolExecutor(min(n_rows, self._model.concurrency)) as pool:
            futures = [pool.submit(one, index) for index in range(n_rows)]
            try:
                return [future.result() for future in futures]
            finally:
                for future in futures:
                    future.cancel()


def _message(role: str, content: str) -> Message:
    return Message.model_validate({"role": role, "content": ({"type": "text", "text": content},)})


def _reply(reply: Completion, prefill: str, sampling: Sampling) -> Reply:
    if reply.stop == "context_full" and not reply.content:
        raise ToolError("the conversation is longer than this target's context")
    text, n_tokens = reply.text, reply.usage.output_tokens
    if n_tokens is None:
        # No server that is asked for n tokens writes more, and no text has more than its bytes.
        n_tokens = min(sampling.max_tokens, len(text.encode()))
    finish: FinishReason = "length" if reply.stop in ("max_tokens", "context_full") else "stop"
    dollars = 0.0 if reply.cached else reply.dollars
    return Reply(text=text, prefill=prefill, n_tokens=n_tokens, finish=finish, dollars=dollars)
