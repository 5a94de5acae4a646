"""The reference page and the JSON Schema say everything there is to say."""

import json
from pathlib import Path
from typing import get_args

import pytest

from auditor.cli import main
from auditor.scenario.reference import render
from auditor.scenario.schema import Block, Scenario, Suite

PAGE = Path(__file__).parents[3] / "docs" / "scenario.md"


def _blocks() -> list[type[Block]]:
    found: list[type[Block]] = [Scenario, Suite]
    for block in found:
        for field in block.model_fields.values():
            pending = [field.annotation]
            while pending:
                part = pending.pop()
                pending += get_args(part)
                if isinstance(part, type) and issubclass(part, Block) and part not in found:
                    found.append(part)
    return found


BLOCKS = _blocks()


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run `make docs`"


def test_blocks_are_found_at_every_depth() -> None:
    assert {"Model", "Truth", "Budget", "SuiteRef", "Ceiling"} <= {b.__name__ for b in BLOCKS}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
def test_every_block_and_every_field_is_described(block: type[Block]) -> None:
    page = render()
    assert f"\n## {block.__name__}\n" in page
    assert block.__doc__
    assert block.__doc__ != Block.__doc__
    for name, field in block.model_fields.items():
        assert field.description, f"{block.__name__}.{name} has no docstring"
        rows = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        meaning = " ".join(field.description.split()).replace("|", "\\|")
        assert any(row.endswith(f"| {meaning} |") for row in rows)


@pytest.mark.parametrize(
    ("words", "block"), [(["schema"], Scenario), (["schema", "--suite"], Suite)]
)
def test_the_json_schema_describes_every_field_and_forbids_unknown_keys(
    words: list[str], block: type[Block], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert not stop.value.code
    schema = json.loads(capsys.readouterr().out)
    assert schema["title"] == block.__name__
    for name, part in {block.__name__: schema, **schema["$defs"]}.items():
        assert part["additionalProperties"] is False, name
        for key, written in part["properties"].items():
            # A description is left out where the block that is referred to has the same.
            block_name = written.get("$ref", "").rpartition("/")[2]
            field = {**schema["$defs"].get(block_name, {}), **written}
            assert field.get("description"), f"{name}.{key}"
