"""Pydantic's errors to mistakes that say where, what, and what to write instead."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin
from typing import Union as _Union  # noqa: TID251 (inspected in annotations, never written)

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from auditor.errors import Mistake
from auditor.scenario.document import Document
from auditor.scenario.schema import DEVICE_PATTERN, SERVER_PATTERN

Loc = tuple[str | int, ...]

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}
_EXAMPLES = {
    "a list": "write `- item` on lines of their own, or [item, item]",
    "a mapping of keys to values": "write `key: value` lines under it",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "of at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "of at most"),
}
_FORMS = {
    "^(anthropic|": "a language model; write anthropic/MODEL, openai/MODEL@BASE_URL, hf/PATH or "
    "scripted/PATH:NAME",
    "^[A-Za-z_]": "the name of an environment variable; use letters, digits and '_'",
}
"""What texts of a pattern that begins so are, and how to write them."""
_MAX_SHOWN = 60
MAX_MISTAKES = 100
"""Mistakes of one file that are spelt out; the others are counted."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Ending of a message about an unknown word: the nearest matches, or all that is known."""
    names = list(known)
    matches = difflib.get_close_matches(word[:200], names, n=3, cutoff=0.6)
    if matches:
        return f"did you mean {' or '.join(repr(match) for match in matches)}?"
    if not names:
        return "there are none to choose from"
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"known: {', '.join(names[:20])}{more}"


def shorten(value: object) -> str:
    """A value as a message may show it."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def diagnose(document: Document, model: type[BaseModel], error: ValidationError) -> list[Mistake]:
    """Turn every error of a validation of `document` against `model` into a mistake."""
    details = [one for one in error.errors(include_url=False) if not _is_echo(one)]
    found = [_mistake(document, model, one) for one in details[:MAX_MISTAKES]]
    if len(details) > MAX_MISTAKES:
        spot = follow(model, details[MAX_MISTAKES]["loc"])
        what = f"and {len(details) - MAX_MISTAKES:,} more mistakes; correct the others first"
        found.append(document.mistake(spot.loc, what, key=spot.is_key))
    return found


def _is_echo(error: ErrorDetails) -> bool:
    """A list counts as too short when its faulty items are left out; they are mistakes already."""
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


@dataclass(frozen=True, slots=True)
class Spot:
    """Where an error's location leads in the schema."""

    loc: Loc
    """The location without union tags and `[key]`, so that it fits the file's own nesting."""
    block: type[BaseModel] | None
    """The innermost block whose field the location names last."""
    nullable: bool
    """Whether null is allowed there."""
    is_key: bool
    """Whether the error is about a key of a mapping rather than about a value."""


def follow(model: type[BaseModel], loc: Sequence[str | int]) -> Spot:
    """Follow an error's location through the schema."""
    annotation: Any = model
    block: type[BaseModel] | None = None
    clean: list[str | int] = []
    steps = loc[:-1] if loc and loc[-1] == "[key]" else loc
    for step in steps:
        options = _options(annotation)
        blocks = [option for option in options if _is_block(option)]
        tagged = [block for block in blocks if _has_tag(block, step)]
        if len(blocks) > 1 and tagged:
            annotation = tagged[0]
            continue
        clean.append(step)
        block = next(iter(blocks), None)
        annotation = _child(options, step)
    nullable = NoneType in _options(annotation)
    return Spot(tuple(clean), block, nullable, is_key=len(steps) < len(loc))


def _options(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _options(get_args(annotation)[0])
    if origin in (_Union, UnionType):
        return [option for part in get_args(annotation) for option in _options(part)]
    return [annotation]


def _is_block(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, BaseModel)


def _has_tag(block: type[BaseModel], step: str | int) -> bool:
    if step == block.__name__:
        return True
    annotations = [field.annotation for field in block.model_fields.values()]
    literals = [a for a in annotations if get_origin(a) is Literal]
    return any(step in get_args(literal) for literal in literals)


def _child(options: list[Any], step: str | int) -> Any:
    for option in options:
        if _is_block(option):
            field = option.model_fields.get(step) if isinstance(step, str) else None
            if field is not None:
                return field.annotation
        elif get_origin(option) in (tuple, list) and isinstance(step, int):
            return get_args(option)[0]
        elif get_origin(option) is dict:
            return get_args(option)[1]
    return None


def _mistake(document: Document, model: type[BaseModel], error: ErrorDetails) -> Mistake:
    spot = follow(model, error["loc"])
    kind = error["type"]
    if kind == "extra_forbidden":
        return document.mistake(spot.loc, _unknown_key(spot), key=True)
    if kind == "missing":
        return document.mistake(spot.loc[:-1], _missing_key(spot))
    what = _value_mistake(document, spot, error)
    return document.mistake(spot.loc, what, key=spot.is_key)


def _unknown_key(spot: Spot) -> str:
    known = list(spot.block.model_fields) if spot.block else []
    return f"unknown key {shorten(spot.loc[-1])}; {nearest(str(spot.loc[-1]), known)}"


def _missing_key(spot: Spot) -> str:
    key = str(spot.loc[-1])
    field = spot.block.model_fields.get(key) if spot.block else None
    help_text = f" ({field.description.rstrip('.')})" if field and field.description else ""
    return f"missing key {key!r}; add `{key}: …`{help_text}"


def _value_mistake(document: Document, spot: Spot, error: ErrorDetails) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    orelse = ", or null for none" if spot.nullable else ""
    if kind in _WANTED:
        return _wrong_type(document, spot, _WANTED[kind], value)
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        bound = context[name]
        bound = int(bound) if float(bound).is_integer() else bound
        return f"{shorten(value)} is out of range; write a number {words} {bound}{orelse}"
    if kind == "int_parsing":
        return f"{shorten(value)} is not a whole number; write one{orelse}"
    if kind == "finite_number":
        return f"{value} is not a finite number; write one{orelse}"
    if kind == "literal_error":
        choices = _choices(context["expected"])
        hint = difflib.get_close_matches(str(value)[:200], choices, n=1, cutoff=0.6)
        guess = f"; did you mean {hint[0]!r}?" if hint else ""
        return f"{shorten(value)} is not one of {', '.join(choices)}{guess}{orelse}"
    if kind == "string_pattern_mismatch" and context["pattern"] == DEVICE_PATTERN:
        return f"{shorten(value)} is not a device; write auto, cpu, cuda, cuda:1 or mps"
    if kind == "string_pattern_mismatch" and context["pattern"] == SERVER_PATTERN:
        # Not repeated: a password may be what is wrong with it.
        return (
            "an address looks like http://HOST:PORT, with no user, password or query in it; a key "
            "stands in the environment variable that `key_env` names"
        )
    if kind == "string_pattern_mismatch" and context["pattern"].startswith(tuple(_FORMS)):
        form = next(
            words for start, words in _FORMS.items() if context["pattern"].startswith(start)
        )
        return f"{shorten(value)} is not {form}"
    if kind == "string_pattern_mismatch":
        marks = "'.', '_', '+' and '-'" if "+" in context["pattern"] else "'.', '_' and '-'"
        rule = f"use letters, digits, {marks}, beginning with a letter or digit"
        return f"{shorten(value)} is not a name; {rule}"
    if kind == "string_too_long":
        return f"{shorten(value)} is too long; use at most {context['max_length']} characters"
    if kind == "too_short":
        return f"is empty; give at least {context['min_length']}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{shorten(value)}: {message[:1].lower()}{message[1:]}"


def _form(pattern: str) -> str:
    return next((words for start, words in _FORMS.items() if pattern.startswith(start)), "")


def _choices(expected: str) -> list[str]:
    return [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]


def _wrong_type(document: Document, spot: Spot, wanted: str, value: object) -> str:
    orelse = ", or null for none" if spot.nullable else ""
    text = document.value_text(spot.loc)
    if wanted == "text" and isinstance(value, bool | int | float) and text:
        reading = "true or false" if isinstance(value, bool) else "a number"
        return f'{text} without quotes is read as {reading}; write "{text}" in quotes'
    if value is None:
        return f"nothing is written here; write {wanted}"
    example = f"; {_EXAMPLES[wanted]}" if wanted in _EXAMPLES else ""
    return f"expected {wanted}{orelse}, not {_kind(value)}{example}"


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str):
        return f"the text {shorten(value)}"
    return shorten(value)
