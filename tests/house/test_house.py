"""The house rules: who may import whom, and how large things may grow."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("auditor", "tools", "nla_core", "scenarios")
MAY_IMPORT = {
    "auditor": {"auditor", "tools", "nla_core"},
    "tools": {"tools", "nla_core"},
    "nla_core": {"nla_core"},
    "scenarios": {"scenarios", "nla_core"},
}
MAX_FILE, MAX_FUNCTION = 400, 50
SOURCES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _imports(tree: ast.AST) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import at line {node.lineno}"
            found.append((node.lineno, node.module or ""))
    return found


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _own_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, less its docstring and less functions in its body (measured alone)."""
    inner = [n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    docstring = ast.get_docstring(node, clean=False)
    described = len(docstring.splitlines()) if docstring is not None else 0
    return _lines(node) - described - sum(_lines(n) for n in inner)


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_rooms_import_only_what_the_law_allows(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for line, module in _imports(ast.parse(path.read_text(encoding="utf-8"))):
        top = module.split(".")[0]
        if top in ROOMS or top == "tests":
            assert top in MAY_IMPORT[room], f"{_name(path)}:{line} imports {module}"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_private_modules_are_imported_only_inside_their_room(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for line, module in _imports(ast.parse(path.read_text(encoding="utf-8"))):
        parts = module.split(".")
        if parts[0] in ROOMS and parts[0] != room:
            private = any(p.startswith("_") for p in parts)
            assert not private, f"{_name(path)}:{line} imports {module}"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE, f"{_name(path)} is too long"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = _own_lines(node)
            assert length <= MAX_FUNCTION, f"{_name(path)}:{node.lineno} {node.name}: {length}"


def test_no_file_names_a_host_to_install_from() -> None:
    for name in ("constraints.txt", "pyproject.toml", "Makefile", ".ci/run"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text, name
        assert "--index" not in text, name
