"""Token ids to the text that they continue."""

from collections.abc import Sequence
from typing import Any

from nla_core.sampling import Generation


class Speller:
    """Decodes ids as the continuation of a text.

    Many tokenizers drop the space of a text's first word. Decoding behind a fixed first token
    and cutting that off keeps it.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Decode with a Transformers tokenizer."""
        self._decode = tokenizer.decode
        self._anchor: list[int] = tokenizer.encode("a", add_special_tokens=False)[-1:]
        self._skip = len(self.plain(self._anchor)) if self._anchor else 0

    def plain(self, ids: Sequence[int]) -> str:
        """Decode ids by themselves."""
        text: str = self._decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def __call__(self, ids: Sequence[int]) -> str:
        """Decode ids as the continuation of a text."""
        return self.plain([*self._anchor, *ids])[self._skip :]

    def restarted(self, drawn: Generation) -> str:
        """Return the text of a turn: what its first word's space is worth, the tokenizer says."""
        if drawn.text.startswith(" ") and not self.plain(drawn.token_ids).startswith(" "):
            return drawn.text[1:]
        return drawn.text
