"""Blocks of scenario.yaml that installed packages add, so that their tools can be configured.

An entry point of the group `auditor.blocks`, named as the block's key, leads to a subclass of
`auditor.scenario.schema.Block`. The block is then checked, described by `auditor schema` and kept
like any other, and stands in `ResolvedScenario.blocks`.
"""

import inspect
from importlib.metadata import entry_points
from typing import Any

from pydantic import Field, create_model

from auditor.errors import UsageError
from auditor.scenario.schema import Block, Scenario

GROUP = "auditor.blocks"


def added_blocks() -> dict[str, type[Block]]:
    """Every block that an installed package adds, by key, sorted.

    Raises:
        UsageError: When an entry point does not lead to a block, or its key is taken.
    """
    found: dict[str, type[Block]] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda one: (one.name, one.value)):
        block = entry.load()
        if not (isinstance(block, type) and issubclass(block, Block)):
            raise UsageError(f"{entry.value} is no scenario block; uninstall or update its package")
        if entry.name in Scenario.model_fields or found.get(entry.name, block) is not block:
            what = f"{entry.value} adds the scenario block {entry.name!r}, which is taken"
            raise UsageError(f"{what}; uninstall its package")
        found[entry.name] = block
    return found


def scenario_model() -> type[Scenario]:
    """The schema of scenario files, added blocks included."""
    added = added_blocks()
    if not added:
        return Scenario
    fields: dict[str, Any] = {
        name: (block | None, Field(default=None, description=inspect.getdoc(block)))
        for name, block in added.items()
    }
    return create_model("Scenario", __base__=Scenario, __doc__=Scenario.__doc__, **fields)


def take_apart(scenario: Scenario) -> tuple[Scenario, dict[str, dict[str, Any]]]:
    """Part a scenario into what every scenario has, and its added blocks as JSON values."""
    names = sorted(type(scenario).model_fields.keys() - Scenario.model_fields.keys())
    if not names:
        return scenario, {}
    plain = Scenario.model_validate(scenario.model_dump(exclude=set(names)))
    values = {name: getattr(scenario, name) for name in names}
    blocks = {
        name: value.model_dump(mode="json") for name, value in values.items() if value is not None
    }
    return plain, blocks
