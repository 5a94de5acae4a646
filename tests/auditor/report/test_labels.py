"""Files of human labels, and every way to get one wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.errors import UsageError
from auditor.records import TrialKey
from auditor.report.labels import Label, consensus, rater_pairs, read_labels

Read = Callable[..., list[Label]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def write_and_read(text: str, *, name: str = "labels.csv", problem: str = "") -> list[Label]:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return read_labels(path, check=lambda key: problem)

    return write_and_read


def test_csv_and_json_lines_say_the_same(read: Read) -> None:
    text = (
        "trial,label,rater,score,behaviours,note\nr/t/s/0,hit,Ada,7.5,3,fine\nr/t/s/1,NO,Ada,,,\n"
    )
    rows = [
        {"trial": "r/t/s/0", "label": "hit", "rater": "Ada", "score": 7.5, "behaviours": 3},
        {"trial": "r/t/s/1", "label": False, "rater": "Ada"},
    ]
    lines = "\n\n".join(map(json.dumps, rows))
    from_csv, from_json = read(text), read(lines, name="labels.jsonl")
    assert [label[1:] for label in from_csv] == [label[1:] for label in from_json]
    assert [label.line for label in from_json] == [1, 3]
    assert from_csv[0] == Label(2, TrialKey.parse("r/t/s/0"), True, "Ada", 7.5, 3.0)


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("trial,lable\n", "1:1", "no column `label`"),
        ("trial,label,vote\n", "1:1", "unknown column 'vote'"),
        ("trial,label,label\n", "1:1", "occurs twice"),
        ("trial,label\nr/t/s/0,maybe\n", "2:1", "not a label: 'maybe'; write hit or miss"),
        ("trial,label\nr/t/s/0,\n", "2:1", "not a label: ''"),
        ("trial,label\nr/t/0,hit\n", "2:1", "write RUN/TARGET/TOOL_SET/NUMBER"),
        ("trial,label\n\nr/t/s/0,hit,3\n", "3:1", "3 cells under 2 columns"),
        ("trial,label,score\nr/t/s/0,hit,high\n", "2:1", "`score` is not a number: 'high'"),
        ("trial,label,score\nr/t/s/0,hit,nan\n", "2:1", "not a finite number"),
        ("trial,label\nr/t/s/0,hit\nr/t/s/0,miss\n", "3:1", "already labelled on line 2"),
        ('trial,label\nr/t/s/0,"hit\n', "2:1", "not CSV"),
    ],
)
def test_a_mistake_in_a_csv_file_is_reported_at_its_line(
    read: Read, text: str, place: str, what: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert f"labels.csv:{place}: " in str(caught.value)
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        ('{"trial": "r/t/s/0", "label": "hit", "vote": 1}', "unknown key 'vote'"),
        ('{"label": "hit"}', "not a trial: ''"),
        ('{"trial": "r/t/s/0", "label": 2}', "not a label: '2'"),
    ],
)
def test_a_mistake_in_json_lines_is_reported_at_its_line(read: Read, line: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(f'{{"trial": "r/t/s/1", "label": "hit"}}\n{line}\n', name="labels.jsonl")
    assert "labels.jsonl:2:1: " in str(caught.value)
    assert what in str(caught.value)


def test_every_mistake_is_reported_and_many_are_counted(read: Read) -> None:
    rows = "".join(f"r/t/s/{n},perhaps\n" for n in range(30))
    with pytest.raises(UsageError) as caught:
        read(f"trial,label\n{rows}")
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 10 more mistakes"


def test_files_that_cannot_be_read_are_reported(read: Read, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no label in it"):
        read("trial,label\n")
    with pytest.raises(UsageError, match="cannot be read"):
        read_labels(tmp_path / "none.csv", check=lambda key: "")
    (tmp_path / "latin.csv").write_bytes(b"trial,label\n\xe9,hit\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_labels(tmp_path / "latin.csv", check=lambda key: "")


def test_what_is_wrong_with_a_trial_is_reported_at_its_line(read: Read) -> None:
    with pytest.raises(UsageError, match=r"labels\.csv:2:1: no such trial"):
        read("trial,label\nr/t/s/0,hit\n", problem="no such trial")


def test_the_majority_of_raters_labels_a_trial_and_a_tie_labels_nothing(read: Read) -> None:
    labels = read(
        "trial,label,rater,score\n"
        "r/t/s/0,hit,a,8\nr/t/s/0,hit,b,6\nr/t/s/0,miss,c,\n"
        "r/t/s/1,hit,a,\nr/t/s/1,miss,b,\n"
    )
    said = consensus(labels)
    assert said[TrialKey.parse("r/t/s/0")] == (True, 7.0, None)
    assert said[TrialKey.parse("r/t/s/1")].hit is None
    pairs = {(one, other): len(shared) for one, other, shared in rater_pairs(labels)}
    assert pairs == {("a", "b"): 2, ("a", "c"): 1, ("b", "c"): 1}
