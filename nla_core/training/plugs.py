"""What a training is given from outside: a corpus, a describer, a grader of claims.

A recipe names each by `module:object`; the object is a class or function that is called with the
target's tokenizer, or (a corpus only) a JSONL file.
"""

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from nla_core.injection import conversation_ids
from nla_core.training.config import RecipeError

Split = Literal["train", "held_out"]


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a corpus."""

    doc_id: str
    token_ids: Sequence[int]


class Corpus(Protocol):
    """Gives documents in a fixed order."""

    def documents(self, split: Split, start: int, stop: int) -> Iterator[Document]:
        """Yield documents `start` to `stop` of a split; fewer when there are no more."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where an activation was taken."""

    doc_id: str
    n_raw_tokens: int
    """Position + 1."""
    text: str
    """The document up to the position."""


class Describer(Protocol):
    """Guesses what the model has in mind at a place."""

    def describe(self, places: Sequence[Place]) -> list[str | None]:
        """Return an explanation of each place; None where there is none to give."""
        ...


@dataclass(frozen=True, slots=True)
class ClaimCount:
    """How often claims of one kind were made, and were true."""

    said: int
    right: int
    true: int
    """Places at which such a claim could have been made."""
    found: int
    """Places of those at which the right one was made."""

    @property
    def precision(self) -> float | None:
        """Share of claims that are right; None when none was made."""
        return self.right / self.said if self.said else None

    @property
    def recall(self) -> float | None:
        """Share of truths that were said; None when there were none."""
        return self.found / self.true if self.true else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grades:
    """What a grader found."""

    claims: Mapping[str, ClaimCount]
    """By kind of claim."""
    invented_motives: ClaimCount
    """Of places without a motive (`true`), those where one was named (`said`)."""


class Grader(Protocol):
    """Checks claims against what is known."""

    def grade(self, places: Sequence[Place], texts: Sequence[str | None]) -> Grades:
        """Grade one explanation a place."""
        ...

    def rewrites(self) -> Mapping[str, Callable[[str, int], str]]:
        """Return ways to say the same otherwise: name to (explanation, seed) -> explanation."""
        ...


class JsonlCorpus:
    """A JSONL file whose lines have a `text` (plain) or `messages` (a chat)."""

    def __init__(self, path: Path, tokenizer: Any) -> None:
        """Every tenth document is held out.

        Raises:
            RecipeError: When the file does not exist.
        """
        if not path.is_file():
            raise RecipeError(f"corpus {path}: no such file")
        self._path, self._tokenizer = path, tokenizer

    def documents(self, split: Split, start: int, stop: int) -> Iterator[Document]:
        """Yield documents, read one line at a time."""
        with self._path.open("rb") as lines:
            numbered = (
                (number, line)
                for number, line in enumerate(lines)
                if (number % 10 == 9) == (split == "held_out")
            )
            for number, line in islice(numbered, start, stop):
                yield Document(f"{self._path.name}:{split}:{number}", self._ids(line, number))

    def _ids(self, line: bytes, number: int) -> list[int]:
        try:
            found = json.loads(line)
            if "messages" in found:
                return conversation_ids(self._tokenizer, found["messages"], header=False)
            return list(self._tokenizer(found["text"])["input_ids"])
        except Exception as error:  # Chat templates raise errors of their own.
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise RecipeError(
                f"corpus {self._path}: line {number + 1}: needs a `text` or `messages` ({why})"
            ) from None


def plug(spec: str, tokenizer: Any) -> Any:
    """Make the object that a recipe names by `module:object`.

    Raises:
        RecipeError: When there is no such thing.
    """
    return find_plug(spec)(tokenizer)


def find_plug(spec: str) -> Callable[[Any], Any]:
    """Return what makes the object that a recipe names by `module:object`.

    Raises:
        RecipeError: When there is no such thing.
    """
    module, _, name = spec.partition(":")
    try:
        factory: Callable[[Any], Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise RecipeError(f"{spec!r}: no such `module:object` ({error})") from None
    return factory


def is_file(spec: str) -> bool:
    """Tell whether a recipe's corpus is a file and no `module:object`."""
    return spec.endswith(".jsonl")


def load_corpus(spec: str, tokenizer: Any) -> Corpus:
    """Open the corpus that a recipe names.

    Raises:
        RecipeError: When there is none.
    """
    if is_file(spec):
        return JsonlCorpus(Path(spec), tokenizer)
    corpus: Corpus = plug(spec, tokenizer)
    return corpus
