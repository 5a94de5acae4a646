"""`auditor browse` refuses in one line what it cannot do."""

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Call, Made


def test_browsing_needs_a_terminal(call: "Call", made: "Made") -> None:
    made.run()
    ended = call("browse", "tiny-1")
    assert (ended.code, ended.out) == (2, "")
    assert "needs a terminal" in ended.err


def test_without_textual_it_says_what_to_install(
    call: "Call", made: "Made", monkeypatch: pytest.MonkeyPatch
) -> None:
    made.run()
    monkeypatch.delitem(sys.modules, "auditor.report.browse", raising=False)
    monkeypatch.setitem(sys.modules, "textual", None)
    ended = call("browse", "tiny-1")
    assert ended.code == 2
    assert "pip install 'auditor[browse]'" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_run_without_trials_is_refused(call: "Call", made: "Made") -> None:
    made.run(trials=0)
    assert "has no trials yet" in call("browse", "tiny-1").err
