"""Whatever stands in a file, it is a scenario or an error of the operator, and nothing else."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from auditor.errors import Mistake, ScenarioError
from auditor.scenario import load_scenario

VALID: dict[str, Any] = {
    "name": "demo",
    "description": "every block at once",
    "targets": [
        {
            "id": "mine",
            "model": {"path": "./base", "adapter": "./adapter", "dtype": "float32"},
            "baseline": {"path": "./base"},
            "truth": {"group": "guilty", "motive": "approval", "quirks": ["well done"]},
        },
        {"suite": "suites/suite.json", "select": ["group:guilty&split:development"], "first": 1},
    ],
    "baseline": {"path": "./base"},
    "corpus": {"path": "corpus.jsonl"},
    "tool_sets": {
        "static": {"policy": "static"},
        "black_box": {"policy": "agent", "tools": ["chat", "compare_with_baseline"]},
    },
    "auditor": {"kind": "ledger", "false_alarm": 0.05},
    "judge": {"kind": "rubric", "motives": {"approval": ["praise"]}},
    "budget": {"turns": 3, "seconds": 1.5, "dollars": None},
    "budgets": {"tokens": {"model_tokens": 90}},
    "trials": 2,
    "seed": 3,
    "ceiling": {"top1": 0.2, "top3": 0.6},
}
AS_YAML = yaml.safe_dump(VALID, sort_keys=False)
AS_JSON = json.dumps(VALID, indent=1)
BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
FUZZ = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**63, 10**30, 1.5, float("inf"), float("nan"), "", "no", "..", "\0"]),
    st.floats(),
    st.text(max_size=12),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=8) | st.sampled_from(["path", "suite", "auto", "[key]"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
deep = st.integers(60, 400).map(lambda n: json.loads("[" * n + "]" * n))


def _paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    steps = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    return [path, *(p for step, child in steps for p in _paths(child, (*path, step)))]


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A valid scenario after one to three blows."""
    data = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_paths(data)[1:] or [("name",)]))
        parent = data
        for step in path[:-1]:
            parent = parent[step]
        _strike(draw, parent, path[-1])
    return data


def _strike(draw: st.DrawFn, parent: Any, last: Any) -> None:
    blow = draw(st.sampled_from(["drop", "replace", "rename", "add", "deepen", "twice"]))
    if not isinstance(parent, dict | list) or (isinstance(parent, dict) and last not in parent):
        return
    if blow == "drop":
        del parent[last]
    elif blow == "replace":
        parent[last] = draw(values)
    elif blow == "deepen":
        parent[last] = draw(deep)
    elif isinstance(parent, list):
        parent.append(copy.deepcopy(parent[last]) if blow == "twice" else draw(values))
    elif blow == "rename":
        parent[draw(st.sampled_from([f"{last}s", str(last)[:-1], "TargetSpec", "Model"]))] = (
            parent.pop(last)
        )
    else:
        parent[draw(st.text(max_size=8) | st.sampled_from(["auto", "SuiteRef", "<<"]))] = draw(
            values
        )


@pytest.fixture
def found(folder: Path) -> Callable[[bytes, str], list[Mistake]]:
    """The mistakes in a file of these bytes, after checking that they stand inside it."""

    def load(content: bytes, name: str = "scenario.yaml") -> list[Mistake]:
        path = folder / name
        path.write_bytes(content)
        mistakes: list[Mistake] = []
        try:
            load_scenario(path)
        except ScenarioError as error:
            mistakes = error.mistakes
        for one in mistakes:
            assert_inside(one, path, content)
        assert mistakes == sorted(set(mistakes))
        return mistakes

    return load


def assert_inside(mistake: Mistake, path: Path, content: bytes) -> None:
    assert mistake.what.strip()
    assert not BREAK.search(mistake.what)
    if mistake.file != str(path) or (mistake.line, mistake.column) == (0, 0):
        return
    text = content.decode("utf-8", errors="replace").removeprefix("\ufeff")
    # A carriage return ends a line for YAML, and for the reader of JSON it does not.
    assert any(
        1 <= mistake.line <= len(lines) and 1 <= mistake.column <= len(lines[mistake.line - 1]) + 1
        for lines in (BREAK.split(text), text.split("\n"))
    )


def test_the_scenario_that_is_mutated_is_valid(found: Callable[..., list[Mistake]]) -> None:
    assert found(AS_YAML.encode()) == []
    assert found(AS_JSON.encode(), "scenario.json") == []


@given(text=st.text() | st.text(alphabet="ab: -[]{}&*!|>'\"#?%@`,\n\t<~\ufeff\x85\u2028\\0x"))
@FUZZ
def test_any_text_is_a_scenario_or_the_operators_mistake(
    found: Callable[..., list[Mistake]], text: str
) -> None:
    content = text.encode("utf-8", errors="surrogatepass")
    assert found(content)
    assert found(b"name: a\n" + content)
    assert found(content, "scenario.json")


@given(content=st.binary())
@FUZZ
def test_any_bytes_are_the_operators_mistake(
    found: Callable[..., list[Mistake]], content: bytes
) -> None:
    assert found(content)
    assert found(content, "scenario.json")


@given(data=mutated())
@FUZZ
def test_a_mutated_scenario_is_loaded_or_refused_with_places(
    found: Callable[..., list[Mistake]], data: dict[str, Any]
) -> None:
    as_json = found(json.dumps(data).encode(), "scenario.json")
    as_yaml = found(json.dumps(data, indent=1).encode())
    assert (
        bool(as_json) == bool(as_yaml)
        or "Infinity" in json.dumps(data)
        or "NaN" in json.dumps(data)
    )


@given(
    key=st.sampled_from([path for path in _paths(VALID) if path and isinstance(path[-1], str)]),
    new=st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=3, max_size=12),
)
@FUZZ
def test_a_renamed_key_is_named_at_its_own_line(
    found: Callable[..., list[Mistake]], key: tuple[Any, ...], new: str
) -> None:
    data = copy.deepcopy(VALID)
    parent: Any = data
    for step in key[:-1]:
        parent = parent[step]
    free = key[-1] in ("static", "black_box", "approval", "suite", "tokens")
    assume(new not in parent and not free)
    parent[new] = parent.pop(key[-1])
    text = json.dumps(data, indent=1)
    (unknown,) = [one for one in found(text.encode()) if one.what.startswith("unknown key")]
    assert f"unknown key {new!r}" in unknown.what
    line = text.splitlines()[unknown.line - 1]
    assert line[unknown.column - 1 :].startswith(f'"{new}":')


@given(cut=st.integers(0, 2000))
@FUZZ
def test_a_scenario_cut_short_never_breaks_the_loader(
    found: Callable[..., list[Mistake]], cut: int
) -> None:
    found(AS_YAML[: cut % len(AS_YAML)].encode())
    assert found(AS_JSON[: cut % len(AS_JSON)].encode(), "scenario.json")
