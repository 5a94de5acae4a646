"""From a name to a provider, or to one line that says what to set."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import UsageError
from auditor.provider import make_provider
from auditor.provider.names import parse_name
from auditor.scenario.schema import LanguageModel
from tests.auditor.provider.servers import KEY


@pytest.mark.parametrize(
    "name",
    [
        "anthropic/claude-opus-5-5",
        "anthropic/claude-x@2026",
        "openai/gpt-5",
        "openai/Qwen/Qwen3-8B@http://localhost:8000/v1",
        "openai/a@b@https://openrouter.ai/api/v1",
        "hf/Qwen/Qwen3-8B",
        "hf//abs/folder",
        "scripted/brain.py:reply",
        "scripted//abs/brain.py:replies",
    ],
)
def test_a_name_is_read_and_written_the_same(name: str) -> None:
    assert str(parse_name(name)) == name


@given(st.sampled_from(["anthropic", "openai"]), st.text(min_size=1), st.integers(1, 65535))
def test_an_address_is_told_from_the_model(scheme: str, model: str, port: int) -> None:
    if "@http" in f"{model}@":
        return
    parsed = parse_name(f"{scheme}/{model}@http://host:{port}/v1")
    assert (parsed.model, parsed.base_url) == (model, f"http://host:{port}/v1")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("gpt-5", "write anthropic/MODEL"),
        ("openrouter/x", "write anthropic/MODEL"),
        ("openai/", "write anthropic/MODEL"),
        ("openai/m@http://", "must be like http://HOST:PORT"),
        ("openai/m@http://host:99999/v1", "must be like http://HOST:PORT"),
        ("openai/m@https://user:word@host/v1", "no user, password or query"),
        ("openai/m@https://host/v1?key=1", "no user, password or query"),
        ("scripted/brain.py", "write scripted/PATH:NAME"),
        ("scripted/brain.py:not a name", "write scripted/PATH:NAME"),
    ],
)
def test_a_name_that_is_none_is_told(name: str, what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        parse_name(name)
    assert "word@" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "key_env", "variable"),
    [
        ("anthropic/m", None, "ANTHROPIC_API_KEY"),
        ("openai/m", None, "OPENAI_API_KEY"),
        ("openai/m@http://host/v1", "MY_KEY", "MY_KEY"),
        ("anthropic/m", "MY_KEY", "MY_KEY"),
    ],
)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_is_told_with_the_variable_to_set(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    key_env: str | None,
    variable: str,
    value: str | None,
) -> None:
    monkeypatch.delenv(variable, raising=False)
    if value is not None:
        monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=f"needs a key; set {variable}") as caught:
        make_provider(LanguageModel(name=name, key_env=key_env))
    assert "\n" not in str(caught.value)


def test_the_key_stands_in_nothing_that_can_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    model = LanguageModel(name="anthropic/m")
    provider = make_provider(model)
    assert KEY not in f"{provider!r} {provider.name} {model!r} {model.model_dump_json()}"


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UsageError, match=r"package openai; pip install 'auditor\[openai\]'"):
        make_provider(LanguageModel(name="openai/m@http://host/v1"))


@pytest.mark.parametrize(
    ("text", "attribute", "what"),
    [
        (None, "reply", "there is no script"),
        ("def reply(:", "reply", "not readable as Python"),
        ("raise ValueError('no')", "reply", "cannot be run: ValueError: no"),
        ("x = 1", "reply", "no list or function 'reply'"),
        ("reply = 1", "reply", "no list or function 'reply'"),
    ],
)
def test_a_script_that_cannot_be_used_is_told(
    tmp_path: Path, text: str | None, attribute: str, what: str
) -> None:
    path = tmp_path / "brain.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=what):
        make_provider(LanguageModel(name=f"scripted/{path}:{attribute}"))


def test_importing_the_room_loads_no_sdk() -> None:
    code = "import auditor.provider, sys; print(*sys.modules)"
    root = str(Path(__file__).parents[3])
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": root},
    )
    loaded = set(ended.stdout.split())
    assert not loaded & {"anthropic", "openai", "httpx2", "genai_prices", "torch", "transformers"}
