"""Names of language models: `anthropic/MODEL`, `openai/MODEL@BASE_URL`, `hf/…`, `scripted/…`."""

import os
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from auditor.errors import UsageError

Scheme = Literal["anthropic", "openai", "hf", "scripted"]
SCHEMES: tuple[Scheme, ...] = ("anthropic", "openai", "hf", "scripted")
KEY_VARIABLES = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
"""Where the key of a provider's own address stands, unless `key_env` says otherwise."""


@dataclass(frozen=True, slots=True)
class ModelName:
    """A parsed name; `str` gives back what was parsed."""

    scheme: Scheme
    model: str
    """Name at the provider, or the path of a folder or a file."""
    base_url: str | None = None
    """Address of a server; None is the provider's own."""
    attribute: str | None = None
    """What to take from a script."""

    def __str__(self) -> str:
        tail = f"@{self.base_url}" if self.base_url else f":{self.attribute}"
        return f"{self.scheme}/{self.model}{tail if self.base_url or self.attribute else ''}"

    @property
    def over_http(self) -> bool:
        """Whether it is asked over the network."""
        return self.scheme in ("anthropic", "openai")

    def key_variable(self, key_env: str | None) -> str | None:
        """Return the environment variable that holds the key; None when no key is sent.

        A key that was made for a provider never goes to another address unasked.
        """
        if not self.over_http:
            return None
        return key_env or (None if self.base_url else KEY_VARIABLES[self.scheme])


def parse_name(name: str) -> ModelName:
    """Read the name of a language model.

    Raises:
        UsageError: When it is none; the message says what to write instead.
    """
    word, slash, rest = name.partition("/")
    scheme = next((known for known in SCHEMES if known == word), None)
    if scheme is None or not slash or not rest:
        raise UsageError(
            f"{name!r} is no language model; write anthropic/MODEL, openai/MODEL@BASE_URL, "
            "hf/PATH or scripted/PATH:NAME"
        )
    if scheme == "hf":
        return ModelName(scheme, rest)
    if scheme == "scripted":
        path, colon, attribute = rest.rpartition(":")
        if not colon or not path or not attribute.isidentifier():
            raise UsageError(
                f"{name!r} does not say what to take from the file; write scripted/PATH:NAME, "
                "where NAME is a function or a list in it"
            )
        return ModelName(scheme, path, attribute=attribute)
    model, mark, address = rest.partition("@http")
    if not mark:
        return ModelName(scheme, rest)
    return ModelName(scheme, model, base_url=_address(f"http{address}", name))


def key_from(variable: str | None) -> str | None:
    """Return the key in an environment variable; None when there is none."""
    return (os.environ.get(variable, "").strip() or None) if variable else None


def _address(url: str, name: str) -> str:
    try:
        parts = urlsplit(url)
        port_fits = 0 <= (parts.port or 0) < 2**16
    except ValueError:
        port_fits = False
    if not port_fits or parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{name!r}: the address must be like http://HOST:PORT/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            f"the address in {parts.hostname!r} must hold no user, password or query; name the "
            "variable that holds a key as `key_env`"
        )
    return url.rstrip("/")
