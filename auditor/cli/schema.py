"""`auditor schema`: the JSON Schema of scenario and suite files."""

import json
from typing import Annotated

import typer


def schema(
    suite: Annotated[
        bool, typer.Option("--suite", help="Print the schema of suite files instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of scenario files."""
    from auditor.scenario import Suite
    from auditor.scenario.blocks import scenario_model

    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **(Suite if suite else scenario_model()).model_json_schema(),
    }
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
