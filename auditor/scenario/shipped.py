"""The scenarios that come with the package."""

from importlib.resources import files
from pathlib import Path

from auditor.errors import Mistake, ScenarioError
from auditor.scenario.diagnose import nearest

_SUFFIX = ".yaml"
_FOLDERS = (".", "real")
"""Where they lie in `scenarios`: those of the sandbox, and those of models that must be fetched."""


def shipped_scenarios() -> dict[str, Path]:
    """Name and file of every shipped scenario: those of the sandbox first, each by name."""
    root = Path(str(files("scenarios")))
    paths = [path for folder in _FOLDERS for path in sorted((root / folder).glob(f"*{_SUFFIX}"))]
    return {path.stem: path for path in paths}


def find_scenario(name_or_path: str | Path) -> Path:
    """The file that a path or a shipped name means; a file of that name comes first.

    Raises:
        ScenarioError: When there is neither; the message lists the shipped names.
    """
    path = Path(name_or_path)
    name = str(name_or_path)
    try:
        if path.is_file():
            return path
        exists = path.exists()
    except (OSError, ValueError):
        exists = False
    shipped = shipped_scenarios()
    if path.name == name:
        found = shipped.get(name.removesuffix(_SUFFIX))
        if found is not None:
            return found
    if exists:
        return path
    if path.name == name and path.suffix not in (_SUFFIX, ".yml", ".json"):
        problem = "no shipped scenario has this name"
    else:
        problem = "there is no such file"
    hint = nearest(path.name.removesuffix(_SUFFIX), shipped)
    names = f"shipped: {', '.join(shipped)}" if shipped else "none is shipped"
    ending = names if not hint.startswith("did") else f"{hint} ({names})"
    raise ScenarioError([Mistake(name, 0, 0, f"{problem}; {ending}")])
