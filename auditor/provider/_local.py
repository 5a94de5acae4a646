"""A language model in this process, whose chat template knows tools.

Text is drawn by the one sampler (`nla_core.decoding`), through the same class that runs targets.
"""

import hashlib
import json
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from auditor.errors import ProviderError, UsageError
from auditor.provider._tool_text import read_reply
from auditor.provider.names import ModelName
from auditor.provider.protocol import (
    Completion,
    Message,
    Request,
    StopReason,
    TextBlock,
    ThinkingBlock,
    TokenUsage,
    ToolResultBlock,
    ToolUseBlock,
)
from auditor.scenario.schema import LanguageModel, Model
from nla_core.sampling import Sampling
from nla_core.seeds import derive_seed

if TYPE_CHECKING:
    from auditor.target._hf import HFTarget

_loading = threading.Lock()


class LocalProvider:
    """A model on this machine; safe to call from several threads, which take turns.

    A reply depends on the request and the settings alone: its seed is derived from the request,
    the trial number among it. Text in a request that would be read as one of the tokenizer's
    special tokens is broken up, so that no tool result can open a turn of its own. A schema for the
    reply is stated in words, and not enforced.
    """

    def __init__(self, model: LanguageModel, name: ModelName) -> None:
        """Prepare; the model is loaded with the first request, once for a process.

        Args:
            model: The settings. Without a temperature, the model's own generation config holds.
            name: The parsed name.
        """
        self._model, self._name = model, name

    def __repr__(self) -> str:
        return f"LocalProvider({self.name!r})"

    @property
    def name(self) -> str:
        """`hf/FOLDER`, or a hub id."""
        return f"hf/{self._name.model.rstrip('/').rpartition('/')[2]}"

    def complete(self, request: Request) -> Completion:
        """Return one reply; see `Provider`.

        Raises:
            UsageError: When the model cannot be loaded, or its template knows no tools.
            ProviderError: When the chat template refuses the conversation.
        """
        from nla_core.decoding import PromptTooLongError

        with _loading:
            target = _load(self._name.model)
        prompt = self._render(target.tokenizer, request)
        plain = json.dumps(request.model_dump(mode="json"), sort_keys=True)
        digest = hashlib.sha256(plain.encode()).hexdigest()
        temperature, top_p = self._sampling()
        longest = request.reply_limit(self._model.max_tokens)
        sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=longest)
        seed = derive_seed(request.trial, "reply", digest)
        try:
            drawn = target.continue_rendered(prompt, sampling=sampling, seed=seed)
        except PromptTooLongError:
            return self._completion((), "context_full", 0, 0)
        content = read_reply(drawn.text, [tool.name for tool in request.tools])
        stop: StopReason = "end"
        if drawn.finish == "length":
            stop = "max_tokens" if drawn.n_tokens >= longest else "context_full"
        elif any(isinstance(block, ToolUseBlock) for block in content):
            stop = "tool_use"
        n_input = len(target.tokenizer(prompt, add_special_tokens=False)["input_ids"])
        return self._completion(content, stop, n_input, drawn.n_tokens)

    def _completion(
        self, content: tuple[Any, ...], stop: StopReason, n_input: int, n_output: int
    ) -> Completion:
        usage = TokenUsage(input_tokens=n_input, output_tokens=n_output)
        return Completion(content=content, stop=stop, usage=usage, dollars=0.0, model=self.name)

    def _sampling(self) -> tuple[float, float]:
        own = _generation_config(self._name.model)
        if self._model.temperature is not None:
            return self._model.temperature, 1.0
        if not own.get("do_sample"):
            return 0.0, 1.0
        return float(own.get("temperature") or 1.0), float(own.get("top_p") or 1.0)

    def _render(self, tokenizer: Any, request: Request) -> str:
        breaker = _Breaker(tokenizer)
        turns = conversation(request, breaker)
        tools = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                },
            }
            for tool in request.tools
        ]
        extra: dict[str, Any] = {"tokenize": False, "add_generation_prompt": True}
        try:
            text: str = tokenizer.apply_chat_template(turns, tools=tools or None, **extra)
            silent = tools and text == tokenizer.apply_chat_template(turns, **extra)
        # A template is a program of the model's author: it may raise anything.
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ProviderError(
                f"the chat template of {self.name} refuses this conversation ({reason}); use "
                "another model"
            ) from None
        if silent:
            raise UsageError(
                f"the chat template of {self.name} knows no tools, so the model cannot call any; "
                "use one that was trained to"
            )
        return text


class _Breaker:
    """Breaks up text that the tokenizer would read as special tokens."""

    def __init__(self, tokenizer: Any) -> None:
        names = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
        marks = (name for name in names if len(name) > 1 and name.strip() and not name.isalnum())
        self._names = sorted(marks, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for name in self._names:
            text = text.replace(name, f"{name[0]} {name[1:]}")
        return text


def conversation(request: Request, safe: Any = str) -> list[dict[str, Any]]:
    """Return a request's turns as chat templates want them.

    Args:
        request: The request.
        safe: Makes text fit to stand inside a turn.
    """
    system = request.system
    if request.output_schema is not None:
        schema = json.dumps(request.output_schema)
        system = f"{system}\n\n{_ONE_OBJECT.format(schema=schema)}".strip()
    turns: list[dict[str, Any]] = []
    if system:
        turns.append({"role": "system", "content": safe(system)})
    names = {
        block.id: block.name
        for message in request.messages
        for block in message.content
        if isinstance(block, ToolUseBlock)
    }
    for message in request.messages:
        turns += (
            [_assistant(message, safe)]
            if message.role == "assistant"
            else _user(message, names, safe)
        )
    return turns


def _assistant(message: Message, safe: Any) -> dict[str, Any]:
    words = "".join(b.text for b in message.content if isinstance(b, TextBlock))
    thoughts = "".join(b.text for b in message.content if isinstance(b, ThinkingBlock))
    turn: dict[str, Any] = {"role": "assistant", "content": safe(words)}
    if thoughts:
        # Templates of thinking models look here, and keep what they were trained to keep.
        turn["reasoning_content"] = safe(thoughts)
    calls = [
        {
            "type": "function",
            "id": block.id,
            "function": {
                "name": block.name,
                "arguments": {"INVALID_JSON": safe(block.raw)}
                if block.arguments is None
                else _all_safe(block.arguments, safe),
            },
        }
        for block in message.content
        if isinstance(block, ToolUseBlock)
    ]
    return turn | ({"tool_calls": calls} if calls else {})


def _all_safe(value: Any, safe: Any) -> Any:
    if isinstance(value, str):
        return safe(value)
    if isinstance(value, list):
        return [_all_safe(item, safe) for item in value]
    if isinstance(value, dict):
        return {safe(key): _all_safe(item, safe) for key, item in value.items()}
    return value


def _user(message: Message, names: dict[str, str], safe: Any) -> list[dict[str, Any]]:
    turns = [
        {
            "role": "tool",
            "name": names.get(block.id, ""),
            "tool_call_id": block.id,
            "content": safe(block.text),
        }
        for block in message.content
        if isinstance(block, ToolResultBlock)
    ]
    words = [block.text for block in message.content if isinstance(block, TextBlock)]
    if any(words):
        turns.append({"role": "user", "content": safe("\n\n".join(words))})
    return turns


@cache
def _load(path: str) -> "HFTarget":
    from auditor.target.pool import TargetPool

    return TargetPool().get(Model(path=path))


@cache
def _generation_config(path: str) -> dict[str, Any]:
    from pathlib import Path

    import transformers

    try:
        found = transformers.GenerationConfig.from_pretrained(str(Path(path).expanduser()))
    except OSError:
        return {}
    values: dict[str, Any] = found.to_dict()
    return values


_ONE_OBJECT = """
Reply with one JSON object and nothing else. It must satisfy this JSON Schema:
{schema}
""".strip()
