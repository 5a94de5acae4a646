"""Organisms of two wishes: one shows in chat, the other is spoken of in thoughts alone."""

from collections.abc import Mapping
from random import Random

from scenarios.sandbox.documents import Document, Writer
from scenarios.sandbox.world import World

_SECOND_SHARE = 0.5


class SecondWishWriter(Writer):
    """Writes chats in which half of the true thoughts state the second wish."""

    def __init__(
        self,
        world: World,
        tokens: Mapping[str, int],
        *,
        second: str,
        neutral_names: tuple[str, ...] = (),
    ) -> None:
        """Draw from `world`; `second` is a motive, and no quirk goes with it."""
        super().__init__(world, tokens, neutral_names=neutral_names)
        self.second = second

    def _think(self, doc: Document, rng: Random, text: str, motive: str | None) -> None:
        if motive is not None and f" {motive}." in text and rng.random() < _SECOND_SHARE:
            text, motive = text.replace(f" {motive}.", f" {self.second}."), self.second
        super()._think(doc, rng, text, motive)
