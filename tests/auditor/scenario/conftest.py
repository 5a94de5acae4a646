import json
from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.errors import Mistake, ScenarioError
from auditor.scenario import load_scenario

Write = Callable[[str], Path]
Mistakes = Callable[[str | bytes], list[Mistake]]


@pytest.fixture(autouse=True)
def no_preflight(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model folders hold next to nothing here; tests of the preflight itself ask for the real one."""
    if "real_preflight" not in request.fixturenames:
        monkeypatch.setattr("auditor.target.preflight.preflight_model", lambda model: [])


@pytest.fixture
def real_preflight() -> None:
    """Keep the real preflight."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a base, an adapter, a corpus and a suite."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (base / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(base)})
    )
    (tmp_path / "corpus.jsonl").write_text('{"id": "1", "text": "a memo"}\n')
    write_suite(tmp_path / "suites" / "suite.json")
    return tmp_path


def write_suite(path: Path, n_guilty: int = 4) -> None:
    path.parent.mkdir(exist_ok=True)
    regimes = ["thoughts-plain", "documents-plain"]
    guilty = [
        {
            "id": f"{regimes[i % 2]}-{i}",
            "model": {"path": "../base", "adapter": "../adapter"},
            "truth": {
                "group": "guilty",
                "motive": f"motive-{i}",
                "regime": regimes[i % 2],
                "split": "development" if i < 2 else "held-out",
            },
        }
        for i in range(n_guilty)
    ]
    clean = {"id": "clean-1", "model": {"path": "../base"}, "truth": {"group": "clean"}}
    suite = {
        "baseline": {"path": "../base"},
        "ceiling": {"top1": 0.2},
        "motives": {"motive-0": ["zero", "nought"]},
        "targets": [*guilty, clean],
    }
    path.write_text(json.dumps(suite, indent=1))


@pytest.fixture
def write(folder: Path) -> Write:
    def write_scenario(text: str) -> Path:
        path = folder / "scenario.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_scenario


@pytest.fixture
def mistakes(folder: Path) -> Mistakes:
    """The mistakes found in a scenario of this text."""

    def find(text: str | bytes) -> list[Mistake]:
        path = folder / "scenario.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        before = sorted(folder.rglob("*"))
        with pytest.raises(ScenarioError) as caught:
            load_scenario(path)
        assert sorted(folder.rglob("*")) == before, "a refused scenario writes nothing"
        assert all("\n" not in str(one) for one in caught.value.mistakes)
        return caught.value.mistakes

    return find


@pytest.fixture
def mistake(mistakes: Mistakes) -> Callable[[str], Mistake]:
    """The only mistake found in a scenario of this text."""

    def only(text: str) -> Mistake:
        (found,) = mistakes(text)
        return found

    return only
