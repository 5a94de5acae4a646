"""Typed access to parsed YAML, with messages that name the field."""

import math
import reprlib
from collections.abc import Mapping
from datetime import date
from typing import Any, TypeGuard

import yaml

MAX_BYTES = 1_000_000
"""Longest sidecar read; real ones have a few kilobytes."""
_LARGEST_INT = 2**53
_LONGEST_SHOWN = 120
# Lists that hold each other many times over unfold only so far.
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2


class SidecarError(ValueError):
    """A sidecar is malformed, or does not fit the tokenizer, the model or the files beside it."""


class Fields:
    """One mapping of a sidecar; every failure names the file and the field."""

    def __init__(self, value: Any, *, source: str, where: str = "") -> None:
        self.source, self.where = source, where
        if not isinstance(value, Mapping):
            raise SidecarError(
                f"{source}: {where.rstrip('.') or 'the file'} must be a mapping, got {show(value)}"
            )
        self._value = value

    def __contains__(self, key: str) -> bool:
        return key in self._value

    def keys(self) -> list[str]:
        """Return the keys as text."""
        return [key if isinstance(key, str) else show(key) for key in self._value]

    def raw(self, key: str) -> Any:
        """Return what stands under a key, None when it is absent."""
        return self._value.get(key)

    def error(self, key: str, what: str) -> SidecarError:
        """Return an error about one field."""
        name = " ".join(key.split())
        return SidecarError(f"{self.source}: {self.where}{name} {what}")

    def section(self, key: str) -> "Fields":
        """Return a mapping that must be there."""
        if self.raw(key) is None:
            raise self.error(key, "is missing")
        return Fields(self.raw(key), source=self.source, where=f"{self.where}{key}.")

    def optional_section(self, key: str) -> "Fields":
        """Return a mapping, an empty one when it is absent or null."""
        value = {} if self.raw(key) is None else self.raw(key)
        return Fields(value, source=self.source, where=f"{self.where}{key}.")

    def integer(self, key: str, *, at_least: int = 0) -> int:
        """Return a whole number that must be there."""
        found = self.optional_integer(key, at_least=at_least)
        if found is None:
            raise self.error(key, "is missing")
        return found

    def optional_integer(self, key: str, *, at_least: int = 0) -> int | None:
        """Return a whole number, None when absent or null."""
        value = self.raw(key)
        if value is None:
            return None
        if not (_is_id(value) and at_least <= value <= _LARGEST_INT):
            raise self.error(key, f"must be an integer of {at_least} or more, got {show(value)}")
        return value

    def string(self, key: str) -> str:
        """Return text that must be there."""
        found = self.optional_string(key)
        if found is None:
            raise self.error(key, "is missing")
        return found

    def optional_string(self, key: str) -> str | None:
        """Return text, None when absent or null."""
        value = self.raw(key)
        if value is not None and not isinstance(value, str):
            raise self.error(key, f"must be text, got {show(value)}")
        return value

    def ids(self, key: str) -> tuple[int, ...] | None:
        """Return a list of token ids, None when absent or null."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(_is_id(item) for item in value) or not value:
            raise self.error(key, f"must be a list of token ids, got {show(value)}")
        return tuple(value)

    def scale(self, key: str, *, d_model: int) -> float | None:
        """Return a norm; None stands for null, `raw` and `none`: do not normalise."""
        value = self.raw(key)
        if value is None or value in ("raw", "none"):
            return None
        if value == "sqrt_d_model":
            return math.sqrt(d_model)
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not (math.isfinite(number) and number > 0):
            raise self.error(
                key, f"must be a positive number, sqrt_d_model, raw or null, got {show(value)}"
            )
        return number

    def note(self, key: str) -> str | None:
        """Return informational text; anything that is not a scalar counts as absent."""
        return _note(self.raw(key))

    def notes(self, key: str) -> tuple[str, ...]:
        """Return informational texts, one or many."""
        value = self.raw(key)
        items = value if isinstance(value, list) else [value]
        return tuple(text for text in map(_note, items) if text is not None)

    def scalars(self, key: str) -> dict[str, str | int | float | None]:
        """Return the informational scalars of a mapping."""
        value = self.raw(key)
        if not isinstance(value, Mapping):
            return {}
        return {
            name: item
            for name, item in value.items()
            if isinstance(name, str) and (item is None or _is_scalar(item))
        }


def load_mapping(text: str, *, source: str) -> Fields:
    """Parse YAML into a mapping.

    Raises:
        SidecarError: When the text is no YAML mapping.
    """
    if len(text) > MAX_BYTES:
        raise SidecarError(f"{source}: too long for a sidecar ({len(text)} characters)")
    try:
        return Fields(yaml.safe_load(text), source=source)
    except SidecarError:
        raise
    except RecursionError:
        raise SidecarError(f"{source}: nested too deeply") from None
    # Impossible dates, numbers with thousands of digits, bytes that are no base64.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, LookupError) as error:
        what = " ".join(str(error).split())
        raise SidecarError(f"{source}: not valid YAML: {what[:300]}") from None
    except AttributeError:
        raise SidecarError(f"{source}: not valid YAML") from None


def show(value: Any) -> str:
    """Render a value in a few characters, however large it is."""
    try:
        return _SHORT.repr(value)[:_LONGEST_SHOWN]
    except (RecursionError, ValueError):
        return f"a {type(value).__name__}"


def _note(value: Any) -> str | None:
    if isinstance(value, date):  # datetime is a date
        return value.isoformat()
    return str(value) if _is_scalar(value) else None


def _is_scalar(value: Any) -> bool:
    """Tell whether a value is text or a number short enough to print."""
    if isinstance(value, int):
        return value.bit_length() < 1024
    return isinstance(value, str | float)


def _is_id(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
