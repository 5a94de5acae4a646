"""Fixed inputs of tools that ask the same of every target, in this project's own words."""

import json
from functools import cache
from pathlib import Path
from typing import Any


@cache
def battery(name: str) -> Any:
    """Return the content of one battery's file."""
    path = Path(__file__).with_name(f"{name}.json")
    return json.loads(path.read_text(encoding="utf-8"))
