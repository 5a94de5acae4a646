"""The report of the small run."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def written(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return its report."""
    from auditor.report.page.write import write_report

    return write_report(small_run, tmp_path_factory.mktemp("page") / "small.html")
