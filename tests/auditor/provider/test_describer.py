"""A language model that describes what activations are about, for trainings."""

from pathlib import Path

import pytest

from auditor.errors import UsageError
from auditor.provider.describer import CACHE_VARIABLE, MODEL_VARIABLE, language_model
from nla_core.training.plugs import Place, plug

SCRIPT = """
from auditor.provider.protocol import Completion, TextBlock

asked = 0

def says(request):
    global asked
    asked += 1
    text = request.messages[0].content[0].text.split("<text>")[1]
    if "silent" in text:
        return Completion(content=(), stop="refusal")
    told = f"<analysis>\\n- about {text.split()[0]}\\n- ends with {text.split()[-2]}\\n</analysis>"
    return Completion(content=(TextBlock(text=told),), stop="end")
"""


def place(text: str) -> Place:
    return Place(doc_id="d", n_raw_tokens=3, text=text)


def test_a_recipe_names_it_and_the_environment_names_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, cache = tmp_path / "said.py", tmp_path / "kept.jsonl"
    script.write_text(SCRIPT)
    monkeypatch.setenv(MODEL_VARIABLE, f"scripted/{script}:says")
    monkeypatch.setenv(CACHE_VARIABLE, str(cache))
    described = plug("auditor.provider.describer:language_model", None)
    found = described.describe([place("tea and bread"), place("silent night"), place("a b")])
    assert found == ["about tea\n\nends with bread", None, "about a\n\nends with b"]
    kept = cache.read_text()
    assert len(kept.splitlines()) == 2
    script.write_text("def says(request):\n    raise AssertionError('asked again')\n")
    assert language_model(None).describe([place("a b")]) == ["about a\n\nends with b"]


def test_without_a_model_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MODEL_VARIABLE, raising=False)
    with pytest.raises(UsageError, match=f"export {MODEL_VARIABLE}=anthropic/MODEL"):
        language_model(None)
