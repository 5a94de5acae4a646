"""Human labels of trials: a CSV file with a header, or JSON lines, one label a line.

| column | meaning |
|---|---|
| trial | the trial's key, RUN/TARGET/TOOL_SET/NUMBER; required |
| label | hit or miss (also yes/no, true/false, 1/0); required |
| rater | who labelled; one person when left out |
| score | how right it is, on any scale that rises; optional |
| behaviours | how many known behaviours the report describes; optional |
| note | anything; not read |

Several raters may label one trial. Its label is then that of their majority; a tie has none. Its
score and its count of behaviours are the means of theirs.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from auditor.errors import Mistake, UsageError
from auditor.records import TrialKey
from auditor.report.agreement import Rated

COLUMNS = ("trial", "label", "rater", "score", "behaviours", "note")
MAX_MISTAKES = 20
_LABELS = {"hit": True, "yes": True, "true": True, "1": True} | {
    "miss": False,
    "no": False,
    "false": False,
    "0": False,
}


class Label(NamedTuple):
    """One rater's label of one trial."""

    line: int
    key: TrialKey
    hit: bool
    rater: str
    score: float | None
    behaviours: float | None


class Consensus(NamedTuple):
    """What the raters of one trial say together."""

    hit: bool | None
    """None when as many say hit as miss."""
    score: float | None
    behaviours: float | None


def read_labels(path: Path, *, check: Callable[[TrialKey], str]) -> list[Label]:
    """Read a file of labels.

    Args:
        path: The file; `.jsonl`, `.ndjson` and `.json` are read as JSON lines, others as CSV.
        check: Says what is wrong with a trial, or "" when it can be labelled.

    Raises:
        UsageError: With every mistake at its line.
    """
    is_json = path.suffix.lower() in (".jsonl", ".ndjson", ".json")
    mistakes: list[Mistake] = []
    labels: list[Label] = []
    seen: dict[tuple[TrialKey, str], int] = {}
    for line, row in (_json_rows if is_json else _csv_rows)(path, _text(path)):
        found = row if isinstance(row, str) else _label(line, row, check)
        if isinstance(found, str):
            mistakes.append(Mistake(str(path), line, 1, found))
            continue
        first = seen.setdefault((found.key, found.rater), line)
        if first != line:
            what = f"trial {found.key} is already labelled on line {first}; delete one, or name"
            mistakes.append(Mistake(str(path), line, 1, f"{what} the raters in a column `rater`"))
        labels.append(found)
    if mistakes:
        more = len(mistakes) - MAX_MISTAKES
        shown = [str(one) for one in mistakes[:MAX_MISTAKES]]
        raise UsageError("\n".join(shown + ([f"and {more} more mistakes"] if more > 0 else [])))
    if not labels:
        raise UsageError(f"{path}: there is no label in it; its columns are {', '.join(COLUMNS)}")
    return labels


def consensus(labels: Iterable[Label]) -> dict[TrialKey, Consensus]:
    """Merge the labels of each trial."""
    by_trial: dict[TrialKey, list[Label]] = {}
    for label in labels:
        by_trial.setdefault(label.key, []).append(label)
    return {
        key: Consensus(
            hit=_majority([one.hit for one in some]),
            score=_mean(one.score for one in some),
            behaviours=_mean(one.behaviours for one in some),
        )
        for key, some in by_trial.items()
    }


def rater_pairs(labels: Iterable[Label]) -> Iterator[tuple[str, str, list[Rated]]]:
    """Yield every two raters with the trials that both labelled, if there are any."""
    by_rater: dict[str, dict[TrialKey, bool]] = {}
    for label in labels:
        by_rater.setdefault(label.rater, {})[label.key] = label.hit
    for one, other in combinations(sorted(by_rater), 2):
        shared = [
            Rated(key.target, hit, by_rater[other][key])
            for key, hit in by_rater[one].items()
            if key in by_rater[other]
        ]
        if shared:
            yield one, other, shared


def _majority(hits: Sequence[bool]) -> bool | None:
    balance = 2 * sum(hits) - len(hits)
    return None if balance == 0 else balance > 0


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; check the path") from None


Rows = Iterator[tuple[int, dict[str, Any] | str]]
"""Line and fields of each row, or what is wrong with it."""


def _csv_rows(path: Path, text: str) -> Rows:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        wrong = _header_problem(header)
        if wrong:
            raise UsageError(f"{path}:1:1: {wrong}")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(header):
                yield reader.line_num, f"{len(cells)} cells under {len(header)} columns"
            else:
                yield reader.line_num, dict(zip(header, cells, strict=False))
    except csv.Error as error:
        raise UsageError(f"{path}:{reader.line_num}:1: not CSV: {error}") from None


def _header_problem(header: Sequence[str]) -> str:
    missing = [name for name in ("trial", "label") if name not in header]
    if missing:
        return f"the header has no column `{missing[0]}`; the columns are {', '.join(COLUMNS)}"
    unknown = [name for name in header if name not in COLUMNS]
    if unknown:
        return f"unknown column {unknown[0]!r}; the columns are {', '.join(COLUMNS)}"
    twice = [name for name in header if header.count(name) > 1]
    return f"column {twice[0]!r} occurs twice" if twice else ""


def _json_rows(_: Path, text: str) -> Rows:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            yield number, "not JSON; write one object a line"
            continue
        if not isinstance(row, dict):
            yield number, "not an object; write one object a line"
            continue
        unknown = [name for name in row if name not in COLUMNS]
        if unknown:
            yield number, f"unknown key {unknown[0]!r}; the keys are {', '.join(COLUMNS)}"
            continue
        yield number, row


def _label(line: int, row: dict[str, Any], check: Callable[[TrialKey], str]) -> Label | str:
    cells = {name: _cell(row.get(name)) for name in COLUMNS}
    try:
        key = TrialKey.parse(cells["trial"])
    except ValueError:
        return f"not a trial: {cells['trial']!r}; write RUN/TARGET/TOOL_SET/NUMBER"
    hit = _LABELS.get(cells["label"].lower())
    if hit is None:
        return f"not a label: {cells['label']!r}; write hit or miss"
    numbers: dict[str, float | None] = {}
    for name in ("score", "behaviours"):
        try:
            numbers[name] = float(cells[name]) if cells[name] else None
        except ValueError:
            return f"`{name}` is not a number: {cells[name]!r}"
        if numbers[name] is not None and not abs(numbers[name] or 0.0) < float("inf"):
            return f"`{name}` is not a finite number: {cells[name]!r}"
    problem = check(key)
    if problem:
        return problem
    return Label(line, key, hit, cells["rater"], numbers["score"], numbers["behaviours"])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value)
