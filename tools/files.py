"""Tools in a Python file of the user's own, named `FILE.py:NAME`.

The file is run as a module of its own, once in each process; what it imports must be installed or
importable from where the process was started.
"""

import sys
from functools import lru_cache
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NamedTuple


class ToolFileError(ValueError):
    """A file does not give the tool that it is named for; the message is one line."""


class ToolRef(NamedTuple):
    """A tool in a file."""

    path: Path
    name: str

    def __str__(self) -> str:
        return f"{self.path}:{self.name}"


def parse_ref(text: str) -> ToolRef | None:
    """Read `FILE.py:NAME`; None when the text is the name of a tool.

    Raises:
        ToolFileError: When it begins so and names nothing.
    """
    file, colon, name = text.rpartition(":")
    if text.endswith(".py"):
        raise ToolFileError(f"{text!r} names no tool; write {text}:NAME")
    if not colon or not file.endswith(".py"):
        return None
    if not name.isidentifier():
        raise ToolFileError(f"{text!r} names no tool; write {file}:NAME")
    return ToolRef(Path(file), name)


def load(ref: ToolRef) -> Any:
    """Return what a file holds under a name.

    Raises:
        ToolFileError: When the file is not there, fails, or holds no such name.
    """
    module = _module(ref.path)
    if not hasattr(module, ref.name):
        raise ToolFileError(f"{ref.path} has no {ref.name!r}")
    return getattr(module, ref.name)


@lru_cache(maxsize=256)
def _module(path: Path) -> Any:
    try:
        is_there = path.is_file()
    except (OSError, ValueError):
        is_there = False
    if not is_there:
        raise ToolFileError(f"there is no file {str(path)!r}; check the path")
    # A name of its own, so that two files of one name do not meet.
    name = f"auditor_tool_file_{sha256(str(path).encode()).hexdigest()[:16]}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ToolFileError(f"{path} is no Python file")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    # A file of the user's own may raise anything, SystemExit among it.
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        said = " ".join(str(error).split())[:200]
        raise ToolFileError(
            f"{path} fails when it is loaded: {type(error).__name__}: {said}"
        ) from error
    return module
