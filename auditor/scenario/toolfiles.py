"""Tools of a scenario: those in files of the user's own, and the arguments that a row fixes."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from auditor.errors import Mistake
from auditor.scenario.diagnose import Loc, nearest, shorten
from auditor.scenario.document import Document
from auditor.scenario.models import absolute
from auditor.scenario.schema import ToolSet
from tools.files import ToolFileError, parse_ref
from tools.protocols import ToolError
from tools.registry import Tool, UnknownToolError, find


def locate_tools(document: Document) -> None:
    """Make the paths of tool files absolute, in place, so that every process finds them."""
    tool_sets = document.data.get("tool_sets")
    folder = document.path.absolute().parent
    for data in tool_sets.values() if isinstance(tool_sets, dict) else ():
        written = data.get("tools") if isinstance(data, dict) else None
        if isinstance(written, list):
            written[:] = [_located(one, folder) if isinstance(one, str) else one for one in written]


def _located(written: str, folder: Path) -> str:
    try:
        ref = parse_ref(written)
    except ToolFileError:
        return written
    return written if ref is None else str(ref._replace(path=absolute(str(ref.path), folder)))


def tool_files(tool_sets: Mapping[str, ToolSet]) -> dict[str, str]:
    """Return the digest of every file that a tool of a set comes from, by path."""
    refs = (parse_ref(name) for row in tool_sets.values() for name in row.tools)
    paths = sorted({ref.path for ref in refs if ref is not None})
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in paths}


def check_settings(document: Document, loc: Loc, tool_set: ToolSet) -> Iterator[Mistake]:
    """Settings are of tools of the row, and of parameters that they have.

    Args:
        document: The scenario.
        loc: Where the tool set stands in it.
        tool_set: The tool set.
    """
    known: dict[str, Tool] = {}
    for name in tool_set.tools:
        try:
            tool = find(name)
        except (UnknownToolError, ToolFileError):
            # Said at the tool itself.
            continue
        if known.setdefault(tool.name, tool) is not tool:
            what = f"two tools of this set are called {tool.name!r}; rename one"
            yield document.mistake((*loc, "tools"), what, key=True)
    for name, arguments in tool_set.settings.items():
        place = (*loc, "settings", name)
        if name not in known:
            what = f"no tool of this set is called {shorten(name)}; {nearest(name, known)}"
            yield document.mistake(place, what, key=True)
            continue
        try:
            known[name].with_fixed(arguments)
        except ToolError as error:
            yield document.mistake(place, str(error), key=True)
