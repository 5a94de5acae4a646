"""A public corpus that is searched by words (BM25, the Lucene variant of the `bm25s` library)."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from auditor.errors import UsageError
from tools.protocols import Document

_WORD = re.compile(r"\w+")


class CorpusError(UsageError, ValueError):
    """A corpus file is wrong; the message starts with `file:line:`."""


class Bm25Corpus:
    """Documents in memory with a BM25 index; safe to search from several threads."""

    def __init__(self, documents: Sequence[Document]) -> None:
        """Index documents.

        Args:
            documents: In the order that breaks ties between equal scores.
        """
        self._documents = tuple(documents)
        words = [_words(document.text) for document in self._documents]
        self._index = _build_index(words) if any(words) else None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and index a JSON Lines file of `{"id": str, "text": str}` objects.

        Args:
            path: The file, UTF-8. Blank lines are skipped.

        Raises:
            CorpusError: When the file cannot be read or a line is not such an object.
        """
        return cls(read_documents(path))

    @property
    def documents(self) -> Sequence[Document]:
        """Every document, in the order of the file."""
        return self._documents

    def __len__(self) -> int:
        return len(self._documents)

    def search(self, query: str, *, limit: int) -> list[tuple[Document, float]]:
        """Return the documents that share a word with the query, best first.

        Args:
            query: Free text; case and punctuation do not matter.
            limit: Most documents to return.

        Returns:
            Documents with their BM25 scores; equal scores in the order of the file.
        """
        words = _words(query)
        if self._index is None or not words or limit < 1:
            return []
        scores = self._index.get_scores(words).tolist()
        best = sorted((-score, row) for row, score in enumerate(scores) if score > 0)
        return [(self._documents[row], -score) for score, row in best[:limit]]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _build_index(words: list[list[str]]) -> Any:
    import bm25s

    index = bm25s.BM25(method="lucene", backend="numpy")
    index.index(words, show_progress=False)
    return index


def read_documents(path: Path) -> list[Document]:
    """Read the documents of a corpus file without indexing them.

    Args:
        path: JSON Lines, UTF-8, one `{"id": str, "text": str}` object a line; blank lines are
            skipped.

    Raises:
        CorpusError: When the file cannot be read, a line is not such an object, or an id is taken.
    """
    documents: dict[str, Document] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}:"
        document = _document(where, line)
        if document.id in documents:
            raise CorpusError(f"{where} id {document.id!r} is taken by an earlier line; rename one")
        documents[document.id] = document
    return list(documents.values())


def _lines(path: Path) -> list[str]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot read the corpus: {error.strerror}") from None
    try:
        # Only line feeds separate JSON lines; str.splitlines would cut texts at other breaks.
        return raw.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise CorpusError(f"{path}:{number}: not UTF-8; save the file as UTF-8") from None


def _document(where: str, line: str) -> Document:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise CorpusError(f"{where} not JSON; write one object a line") from None
    if not isinstance(record, dict):
        raise CorpusError(f'{where} not an object; write {{"id": "…", "text": "…"}}')
    for key in ("id", "text"):
        if not isinstance(record.get(key), str) or not record[key].strip():
            raise CorpusError(f'{where} "{key}" must be a string that is not empty')
    return Document(id=record["id"], text=record["text"])
