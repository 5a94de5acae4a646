"""Where generated text ends: stop strings, looked for in the decoded text."""

from collections.abc import Callable, Sequence

from nla_core.sampling import FinishReason, Generation

_SLACK = 4


class Stopper:
    """Looks for stop strings as tokens arrive.

    At each step only the last tokens are decoded, as many as the longest stop string has bytes.
    A hit there is confirmed on the whole text, and the finished text is searched once more, so
    tokens that decode to nothing cost extra steps at worst, never a wrong cut. Nothing is decoded
    at a token that by itself does not hold the last character of a stop string.
    """

    def __init__(self, stop: Sequence[str], decode: Callable[[Sequence[int]], str]) -> None:
        if "" in stop:
            raise ValueError("a stop string must not be empty")
        self._stop = tuple(stop)
        self._decode = decode
        self._window = max((len(s.encode()) for s in stop), default=0) + _SLACK
        self._ends = frozenset(s[-1] for s in stop)
        self._completes: dict[int, bool] = {}

    def hit(self, ids: Sequence[int]) -> bool:
        """Tell whether the last token has completed a stop string."""
        if not self._stop or not self._may_complete(ids[-1]):
            return False
        if self._cut(self._decode(ids[-self._window :])) is None:
            return False
        return len(ids) <= self._window or self._cut(self._decode(ids)) is not None

    def _may_complete(self, token: int) -> bool:
        found = self._completes.get(token)
        if found is None:
            # Alone, a token may lose its spaces, or be a part of a character.
            odd = any(c.isspace() or not c.isascii() for c in self._ends)
            found = odd or any(c in self._ends for c in self._decode([token]))
            self._completes[token] = found
        return found

    def generation(self, ids: Sequence[int], finish: FinishReason) -> Generation:
        """Decode a finished row and cut it before its first stop string."""
        text = self._decode(ids) if ids else ""
        end = self._cut(text)
        if end is None:
            return Generation(text=text, token_ids=tuple(ids), finish=finish)
        text = text[:end]
        kept = len(ids)
        while kept and self._prefix(ids[: kept - 1]).startswith(text):
            kept -= 1
        return Generation(text=text, token_ids=tuple(ids[:kept]), finish="stop")

    def _prefix(self, ids: Sequence[int]) -> str:
        return self._decode(ids) if ids else ""

    def _cut(self, text: str) -> int | None:
        found = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        return min(found, default=None)
