"""`auditor report` writes one file and says where it is; a mistake is one line."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Call, Made


def test_the_name_of_the_file_is_printed_and_the_page_is_in_it(
    call: "Call", made: "Made", tmp_path: Path
) -> None:
    made.run()
    out = tmp_path / "page.html"
    ended = call("report", "tiny-1", "--out", str(out))
    assert (ended.code, ended.out, ended.err) == (0, f"{out}\n", "")
    assert "<title>tiny-1 · audit report</title>" in out.read_text(encoding="utf-8")


def test_the_file_is_named_after_the_run(
    call: "Call", made: "Made", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.run()
    monkeypatch.chdir(tmp_path)
    assert call("report", "last").out == "tiny-1.html\n"
    assert (tmp_path / "tiny-1.html").is_file()


def test_a_broken_or_errored_run_has_a_page_too(call: "Call", made: "Made", tmp_path: Path) -> None:
    made.run(events=made.errored)
    assert call("report", "tiny-1", "--out", str(tmp_path / "page.html")).code == 0


def test_the_page_can_be_that_of_another_judge(call: "Call", made: "Made", tmp_path: Path) -> None:
    made.run()
    assert call("judge", "tiny-1", "--name", "again").code == 0
    out = tmp_path / "page.html"
    assert call("report", "tiny-1", "--out", str(out), "--judge", "again").code == 0
    assert "Judged by the judgements <b>again</b>." in out.read_text(encoding="utf-8")
    ended = call("report", "tiny-1", "--out", str(out), "--judge", "nobody")
    assert (ended.code, "there are again" in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tinny-1",), "did you mean tiny-1?"),
        (("tiny-1", "--split", "x"), "is of split 'x'; choose all"),
        (("tiny-1", "--out", "."), ". is a folder"),
    ],
)
def test_a_mistake_is_one_line(
    call: "Call", made: "Made", words: tuple[str, ...], message: str
) -> None:
    made.run()
    ended = call("report", *words)
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1
