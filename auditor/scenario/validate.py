"""Values of a file to blocks of the schema, wholly or as far as they go."""

import copy
import json
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from auditor.errors import Mistake
from auditor.scenario.diagnose import Loc, diagnose, follow
from auditor.scenario.document import Document
from auditor.scenario.schema import Block

B = TypeVar("B", bound=Block)

_ROUNDS = 4


class Validated(NamedTuple):
    """A whole file against its schema."""

    block: Any
    """The block, or None when there are mistakes."""
    mistakes: list[Mistake]


def validate(document: Document, model: type[Block]) -> Validated:
    """Check a whole file; every mistake of its own and of its values is returned."""
    try:
        block = _strict(model, document.data)
    except ValidationError as error:
        return Validated(None, [*document.mistakes, *diagnose(document, model, error)])
    return Validated(None if document.mistakes else block, document.mistakes)


def salvage(model: type[B], data: Any) -> B | None:
    """Build a block from data that may hold mistakes, which are left out where possible.

    With it, what is right in a faulty file can be checked further in the same pass.
    """
    data = copy.deepcopy(data)
    for _ in range(_ROUNDS):
        try:
            return _strict(model, data)
        except ValidationError as error:
            details = error.errors(include_url=False)
        if any(one["type"] == "missing" for one in details):
            return None
        locs = {follow(model, one["loc"]).loc for one in details}
        if not all(_remove(data, loc) for loc in _innermost_last_first(locs)):
            return None
    return None


def _strict(model: type[B], data: Any) -> B:
    # JSON mode is strict about scalars, yet takes lists for tuples.
    return model.model_validate_json(json.dumps(data), strict=True)


def _innermost_last_first(locs: set[Loc]) -> list[Loc]:
    # List items are removed from the back, so that earlier indices stay true.
    return sorted(locs, key=lambda loc: [(isinstance(s, str), s) for s in loc], reverse=True)


def _remove(data: Any, loc: Loc) -> bool:
    if not loc:
        return False
    try:
        for step in loc[:-1]:
            data = data[step]
        del data[loc[-1]]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def sound_indices(data: Any, key: str) -> list[int]:
    """Where the texts of a list under `key` are, which is where `salvage` took its items from."""
    items = data.get(key) if isinstance(data, dict) else None
    if not isinstance(items, list):
        return []
    return [index for index, item in enumerate(items) if isinstance(item, str)]
