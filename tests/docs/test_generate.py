"""What the results page shows of files of results, and of those that are not there yet."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["rows", "regimes", "stats", "contrasts", "funnel", "heads"])
def test_a_file_that_is_not_there_yet_is_named_and_stays_so(
    generate: ModuleType, kind: str
) -> None:
    page = generate.results_page(f"<!-- {kind}: no-such-run -->\n<!-- /{kind} -->")
    assert "*Not measured yet: `docs/results/no-such-run.json` is not there.*" in page
    assert generate.results_page(page) == page


@pytest.mark.parametrize(
    ("kind", "column", "other"), [("contrasts", "Holm p", "exposed"), ("funnel", "exposed", "ECE")]
)
def test_one_topic_of_the_statistics_stands_alone(
    generate: ModuleType, kind: str, column: str, other: str
) -> None:
    page = generate.results_page(f"<!-- {kind}: sandbox-full-stats -->\n<!-- /{kind} -->")
    titles = page.splitlines()[2]
    assert column in titles
    assert other not in titles
    assert "nla+black_box" in page
    assert "#" not in page
