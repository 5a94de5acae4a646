"""A provider that replays a list of replies, or asks a function for each; see docs/providers.md."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from auditor.errors import ProviderError, UsageError
from auditor.provider.protocol import (
    Completion,
    Message,
    Request,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)

Block: TypeAlias = TextBlock | ThinkingBlock | ToolUseBlock
Reply: TypeAlias = Completion | Message | Block | str | Sequence[Block]
"""What a script may answer: words, blocks, a message of theirs, or a whole completion."""
Script: TypeAlias = Sequence[Reply] | Callable[[Request], Reply]


class ScriptedProvider:
    """Replies by a script, without any model.

    A list answers a conversation turn by turn: a request with n turns of the assistant in it gets
    item n. That depends on the request alone, so threads and interruptions change nothing. A
    function sees the whole request, and should depend on nothing else for the same reason.

    Replies that are not whole completions cost 0 dollars, and their tokens are not known.
    """

    def __init__(self, script: Script, *, name: str = "scripted") -> None:
        """Take the script.

        Args:
            script: Replies by turn, or the function that makes them.
            name: Name for records.
        """
        self._script, self._name = script, name

    def __repr__(self) -> str:
        return f"ScriptedProvider({self._name!r})"

    @property
    def name(self) -> str:
        """Name for records."""
        return self._name

    def complete(self, request: Request) -> Completion:
        """Return the script's reply.

        Raises:
            ProviderError: When a list has no reply left, or what comes is no reply.
        """
        if callable(self._script):
            return self._completion(self._script(request))
        turn = sum(message.role == "assistant" for message in request.messages)
        if turn >= len(self._script):
            raise ProviderError(
                f"{self._name} has {len(self._script)} replies and turn {turn + 1} needs another; "
                "end the list with a submission, or write a function"
            )
        return self._completion(self._script[turn])

    def _completion(self, reply: Any) -> Completion:
        if isinstance(reply, Completion):
            return reply
        if isinstance(reply, str):
            content: tuple[Any, ...] = (TextBlock(text=reply),)
        elif isinstance(reply, Message):
            content = reply.content
        else:
            content = tuple(reply) if isinstance(reply, Sequence) else (reply,)
        kinds = TextBlock | ThinkingBlock | ToolUseBlock
        if not all(isinstance(block, kinds) for block in content):
            raise ProviderError(
                f"{self._name} gave {type(reply).__name__} that is no reply; give a text, blocks "
                "of text, thinking or tool use, a Message or a Completion"
            )
        stop = "tool_use" if any(isinstance(b, ToolUseBlock) for b in content) else "end"
        return Completion.model_validate(
            {"content": content, "stop": stop, "dollars": 0.0, "model": self._name}
        )


def load_script(path: Path, attribute: str, *, name: str) -> ScriptedProvider:
    """Run a Python file and take its list or function.

    Args:
        path: The file.
        attribute: Name of the list or function in it.
        name: Name of the provider for records.

    Raises:
        UsageError: When the file cannot be run or has nothing of that name.
    """
    mistake = script_mistake(path)
    if mistake:
        raise UsageError(mistake)
    spec = importlib.util.spec_from_file_location(f"auditor_script_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file; name one that ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        what = str(error).splitlines()[:1] or [""]
        raise UsageError(f"{path} cannot be run: {type(error).__name__}: {what[0]}") from error
    script: Any = getattr(module, attribute, None)
    if not callable(script) and not _is_list(script):
        raise UsageError(f"{path} has no list or function {attribute!r}; define one")
    return ScriptedProvider(script, name=name)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, ToolResultBlock | str)


def script_mistake(path: Path) -> str | None:
    """Say what is wrong with a script, without running it."""
    if path.suffix != ".py":
        return f"{path} is no Python file; name one that ends in .py"
    if not path.is_file():
        return f"there is no script {path}; check the path"
    try:
        compile(path.read_text(encoding="utf-8"), str(path), "exec", dont_inherit=True)
    except (OSError, ValueError, SyntaxError) as error:
        return f"{path} is not readable as Python ({error}); correct it"
    return None
