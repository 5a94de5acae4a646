import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.errors import RunError
from auditor.provider import make_provider
from auditor.provider.cache import CachedProvider, CacheSettings
from auditor.provider.protocol import Completion, Request, TextBlock, TokenUsage
from auditor.provider.replay import ScriptedProvider
from auditor.scenario.schema import LanguageModel
from tests.auditor.provider.conftest import ask
from tests.auditor.provider.servers import KEY, Loopback

MODEL = LanguageModel(name="scripted/brain.py:reply")


class Counting:
    """A script that counts how often it is asked."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self, request: Request) -> Completion:
        self.n += 1
        usage = TokenUsage(input_tokens=3, output_tokens=2)
        content = (TextBlock(text=f"reply {self.n}"),)
        return Completion(content=content, stop="end", usage=usage, dollars=0.5)


def cached(
    script: Counting, folder: Path, mode: str, model: LanguageModel = MODEL
) -> CachedProvider:
    settings = CacheSettings.model_validate({"mode": mode, "folder": folder})
    return CachedProvider(ScriptedProvider(script), model, settings)


def test_a_kept_reply_is_the_same_and_says_that_it_was_kept(tmp_path: Path) -> None:
    script = Counting()
    provider = cached(script, tmp_path, "write")
    first, again = provider.complete(ask()), provider.complete(ask())
    assert not first.cached
    assert again == first.model_copy(update={"cached": True})
    assert again.dollars == 0.5
    assert script.n == 1


def test_off_neither_reads_nor_writes(tmp_path: Path) -> None:
    script = Counting()
    cached(script, tmp_path, "write").complete(ask())
    before = sorted(tmp_path.rglob("*"))
    assert cached(script, tmp_path, "off").complete(ask()).text == "reply 2"
    assert cached(script, tmp_path, "off").complete(ask("Other")).text == "reply 3"
    assert sorted(tmp_path.rglob("*")) == before


def test_read_takes_what_is_there_and_writes_nothing(tmp_path: Path) -> None:
    script = Counting()
    cached(script, tmp_path, "write").complete(ask())
    before = sorted(tmp_path.rglob("*"))
    assert cached(script, tmp_path, "read").complete(ask()).text == "reply 1"
    assert cached(script, tmp_path, "read").complete(ask("Other")).text == "reply 2"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "change",
    [
        {"trial": 1},
        {"system": "Be long."},
        {"output_schema": {"type": "object"}},
        {"messages": ask("Hi.").messages},
    ],
)
def test_every_part_of_a_request_decides(tmp_path: Path, change: dict[str, object]) -> None:
    script = Counting()
    provider = cached(script, tmp_path, "write")
    provider.complete(ask())
    assert provider.complete(ask().model_copy(update=change)).text == "reply 2"


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": 5},
        {"effort": "high"},
        {"temperature": 0.0},
        {"extra_body": {"seed": 1}},
        {"name": "scripted/brain.py:other"},
    ],
)
def test_every_setting_that_changes_replies_decides(
    tmp_path: Path, change: dict[str, object]
) -> None:
    script = Counting()
    cached(script, tmp_path, "write").complete(ask())
    other = cached(script, tmp_path, "write", MODEL.model_copy(update=change))
    assert other.complete(ask()).text == "reply 2"


@pytest.mark.parametrize(
    "change",
    [{"key_env": "OTHER_KEY"}, {"concurrency": 1}, {"timeout": 3.0}],
)
def test_who_pays_and_how_fast_does_not_decide(tmp_path: Path, change: dict[str, object]) -> None:
    script = Counting()
    cached(script, tmp_path, "write").complete(ask())
    other = cached(script, tmp_path, "write", MODEL.model_copy(update=change))
    assert other.complete(ask()).cached


def test_a_script_that_was_changed_is_asked_anew(tmp_path: Path) -> None:
    script = tmp_path / "brain.py"
    settings = CacheSettings(mode="write", folder=tmp_path / "kept")
    model = LanguageModel(name=f"scripted/{script}:replies")
    script.write_text("replies = ['one']")
    assert not make_provider(model, cache=settings).complete(ask()).cached
    assert make_provider(model, cache=settings).complete(ask()).cached
    script.write_text("replies = ['another']")
    assert make_provider(model, cache=settings).complete(ask()).text == "another"


def entry(folder: Path) -> Path:
    (path,) = folder.rglob("*.json")
    return path


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("reply 1", "reply 9"),
        lambda text: json.dumps(json.loads(text) | {"key": "0" * 64}),
        lambda text: "[]",
        lambda text: "null",
        lambda text: json.dumps({"key": 3, "digest": None, "reply": 4}),
    ],
)
def test_a_spoilt_entry_counts_as_none_and_is_written_anew(
    tmp_path: Path, spoil: "type[str]"
) -> None:
    script = Counting()
    provider = cached(script, tmp_path, "write")
    provider.complete(ask())
    path = entry(tmp_path)
    path.write_text(spoil(path.read_text()))
    assert provider.complete(ask()).text == "reply 2"
    assert provider.complete(ask()).text == "reply 2"


def test_bytes_that_are_no_text_count_as_no_entry(tmp_path: Path) -> None:
    provider = cached(Counting(), tmp_path, "write")
    provider.complete(ask())
    entry(tmp_path).write_bytes(b"\xff\xfe\x00")
    assert provider.complete(ask()).text == "reply 2"


WRITER = """
import sys
from pathlib import Path
from auditor.provider.cache import CachedProvider, CacheSettings
from auditor.provider.replay import ScriptedProvider
from auditor.provider.protocol import Message, Request
from auditor.scenario.schema import LanguageModel
settings = CacheSettings(mode="write", folder=Path(sys.argv[1]))
model = LanguageModel(name="scripted/brain.py:reply")
provider = CachedProvider(ScriptedProvider(lambda request: "x" * 200_000), model, settings)
print("ready", flush=True)
for trial in range(int(sys.argv[2])):
    provider.complete(Request(system="", messages=(Message.user("Hi"),), trial=trial))
"""


def test_two_processes_at_once_and_a_killed_one_leave_whole_entries(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    words = [sys.executable, "-c", WRITER, str(folder)]
    pair = [subprocess.Popen([*words, "40"], stdout=subprocess.PIPE, env=env) for _ in range(2)]
    doomed = subprocess.Popen([*words, "100000"], stdout=subprocess.PIPE, env=env)
    assert doomed.stdout is not None
    doomed.stdout.readline()
    while not list(folder.rglob("*.json")):
        pass
    doomed.kill()
    doomed.wait()
    for process in pair:
        assert process.wait() == 0
        assert process.stdout is not None
        process.stdout.close()
    doomed.stdout.close()
    script = Counting()
    provider = cached(script, folder, "read")
    for trial in range(40):
        request = Request(system="", messages=ask().messages, trial=trial)
        assert len(provider.complete(request).text) == 200_000
    assert script.n == 0
    whole = [json.loads(path.read_text()) for path in folder.rglob("*.json")]
    assert len(whole) >= 40


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    provider = cached(Counting(), tmp_path / "file" / "kept", "write")
    with pytest.raises(RunError, match="cannot be kept in .*; make room there, or"):
        provider.complete(ask())


def test_nothing_of_the_request_and_no_key_is_in_an_entry(tmp_path: Path) -> None:
    settings = CacheSettings(mode="write", folder=tmp_path)
    with Loopback() as server:
        model = LanguageModel(name=server.anthropic(), key_env="LOOPBACK_KEY")
        provider = make_provider(model, cache=settings)
        provider.complete(ask("The secret question"))
        assert provider.complete(ask("The secret question")).cached
        assert len(server.bodies) == 1
    text = entry(tmp_path).read_text()
    assert KEY not in text
    assert "question" not in text
    assert "LOOPBACK_KEY" not in text
    assert KEY not in repr(provider)
