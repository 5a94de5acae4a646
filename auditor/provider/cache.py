"""Replies on disk, so that nothing is paid for twice.

An entry is a file named after the SHA-256 of all that decides the reply: the provider's name, the
settings that it is asked with, the state of a script or a local model, and the whole request with
its trial number. It holds the reply and nothing of the request, and no key. Entries are written to
a temporary file and put in place by one rename, so that a killed process leaves no half of one and
two processes may share a folder; an entry that cannot be read counts as none.
"""

import hashlib
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from auditor.errors import RunError
from auditor.provider.protocol import Completion, Provider, Request
from auditor.records import Record
from auditor.scenario.schema import LanguageModel

CacheMode = Literal["off", "read", "write"]
FORMAT = 1
"""Part of every key, so that entries of another format are never met."""
_NOT_DECISIVE = {"key_env", "concurrency", "timeout", "price", "cache_ttl"}
"""Settings that change who pays and how fast, not what is said."""


class CacheSettings(Record):
    """Whether replies are kept, and where."""

    mode: CacheMode = "off"
    """off: the folder is neither read nor written. read: a request whose reply is kept gets that
    reply; others are asked, and nothing is written. write: as read, and new replies are kept."""
    folder: Path | None = None
    """Folder of the entries; without one nothing is kept."""


class CachedProvider:
    """Another provider, asked only for what is not kept.

    A kept reply has the usage and the dollars that it had when it was bought, and `cached` set: who
    counts spending leaves it out, who records a trial gets the same record as the first time.
    """

    def __init__(
        self,
        inner: Provider,
        model: LanguageModel,
        settings: CacheSettings,
        *,
        source: str = "",
    ) -> None:
        """Wrap a provider.

        Args:
            inner: Who is asked.
            model: The settings that it is asked with.
            settings: Where replies are kept.
            source: What else decides the replies, such as the state of a script's file.
        """
        self._inner, self._settings, self._source = inner, settings, source
        self._decisive = model.model_dump(mode="json", exclude=_NOT_DECISIVE)

    def __repr__(self) -> str:
        return f"CachedProvider({self._inner!r}, {self._settings.mode})"

    @property
    def name(self) -> str:
        """Name of the provider inside."""
        return self._inner.name

    def complete(self, request: Request) -> Completion:
        """Return a kept reply, or ask.

        Raises:
            ProviderError: When no reply can be had.
            RunError: When a new reply cannot be written.
        """
        if self._settings.mode == "off" or self._settings.folder is None:
            return self._inner.complete(request)
        key = self.key(request)
        path = self._settings.folder / key[:2] / f"{key}.json"
        kept = _read(path, key)
        if kept is not None:
            return kept.model_copy(update={"cached": True})
        reply = self._inner.complete(request)
        if self._settings.mode == "write":
            _write(path, key, reply)
        return reply

    def key(self, request: Request) -> str:
        """Return the name of a request's entry."""
        asked = {
            "format": FORMAT,
            "provider": self.name,
            "settings": self._decisive,
            "source": self._source,
            "request": request.model_dump(mode="json"),
        }
        text = json.dumps(asked, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _digest(reply: str) -> str:
    return hashlib.sha256(reply.encode()).hexdigest()


def _read(path: Path, key: str) -> Completion | None:
    try:
        entry: Any = json.loads(path.read_text(encoding="utf-8"))
        reply = entry["reply"]
        if entry["key"] != key or entry["digest"] != _digest(reply):
            return None
        return Completion.model_validate_json(reply)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _write(path: Path, key: str, reply: Completion) -> None:
    text = reply.model_dump_json()
    entry = json.dumps({"key": key, "digest": _digest(text), "reply": text})
    partial = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            file.write(entry)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise RunError(
            f"a reply cannot be kept in {path.parent} ({error.strerror}); make room there, or "
            "run with --cache off"
        ) from None
