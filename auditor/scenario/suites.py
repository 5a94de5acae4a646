"""Suite files: opening them, once each, and taking targets from them."""

from pathlib import Path
from typing import NamedTuple

from auditor.errors import Mistake, ScenarioError
from auditor.scenario.checks import check_truth
from auditor.scenario.document import Document, read_document
from auditor.scenario.models import absolute
from auditor.scenario.schema import Suite
from auditor.scenario.validate import validate


class OpenedSuite(NamedTuple):
    """A suite file without mistakes."""

    suite: Suite
    document: Document
    folder: Path
    """Its relative paths start here."""


class SuiteShelf:
    """The suites of one scenario, each read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[Path, OpenedSuite | None] = {}
        self.mistakes: list[Mistake] = []
        """Mistakes inside the suite files."""

    def path(self, written: str) -> Path:
        """Where a suite file is."""
        return absolute(written, self._folder)

    def open(self, written: str) -> OpenedSuite | None:
        """Read a suite, or return None when it has mistakes, which are then in `mistakes`."""
        path = self.path(written)
        if path not in self._opened:
            self._opened[path] = self._read(path)
        return self._opened[path]

    def _read(self, path: Path) -> OpenedSuite | None:
        try:
            document = read_document(path, what="suite")
        except ScenarioError as error:
            self.mistakes += error.mistakes
            return None
        checked = validate(document, Suite)
        mistakes = checked.mistakes or _check(document, checked.block)
        self.mistakes += mistakes
        if mistakes:
            return None
        return OpenedSuite(checked.block, document, path.parent)


def _check(document: Document, suite: Suite) -> list[Mistake]:
    mistakes = []
    seen: set[str] = set()
    for index, target in enumerate(suite.targets):
        loc = ("targets", index)
        mistakes += check_truth(document, loc, target.truth)
        if target.id.casefold() in seen:
            what = f"target id {target.id!r} occurs twice; give each target its own id"
            mistakes.append(document.mistake((*loc, "id"), what))
        seen.add(target.id.casefold())
    return mistakes
