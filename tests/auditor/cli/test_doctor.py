"""`auditor doctor` through the command line."""

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Call


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: "Path", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


def test_the_sandbox_is_ready_everywhere(call: "Call") -> None:
    ended = call("doctor", "sandbox")
    assert ended.code == 0, ended.out
    assert "ready to run" in ended.out
    assert "MISSING" not in ended.out


def test_a_real_scenario_says_what_it_lacks_and_what_it_costs(call: "Call") -> None:
    ended = call("doctor", "auditbench-llama", "--targets", "llama-td-*", "--json")
    assert ended.code == 1
    (line,) = ended.out.splitlines()
    found = json.loads(line)
    assert found["ready"] is False
    missing = {(one["what"], one["name"]) for one in found["findings"] if one["state"] == "missing"}
    assert ("weights", "model meta-llama/Llama-3.3-70B-Instruct") in missing
    assert ("weights", "verbalizer kitft/Llama-3.3-70B-NLA-L53-av") in missing
    assert ("key", "ANTHROPIC_API_KEY (auditor)") in missing
    assert found["cost"]["auditor_dollars"] > 0


def test_rows_without_readings_need_no_autoencoder(call: "Call") -> None:
    ended = call("doctor", "auditbench-llama", "--tool-sets", "black_box,static")
    assert ended.code == 1
    assert "verbalizer" not in ended.out
    assert "not ready" in ended.out


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("sandbx",), "no shipped scenario has this name"),
        (("sandbox", "--tool-sets", "blackbox"), "unknown tool set 'blackbox'"),
        (("sandbox", "--budget", "none"), "unknown budget 'none'"),
        (("sandbox", "--targets", "nobody"), "selects nothing"),
    ],
)
def test_misuse_is_answered_with_exit_code_2(
    call: "Call", words: tuple[str, ...], what: str
) -> None:
    ended = call("doctor", *words)
    assert ended.code == 2
    assert what in ended.err
