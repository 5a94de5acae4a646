"""Later judgements of a run's trials, beside its sealed record.

    RUNS_DIR/RUN/judgements/NAME.jsonl    a header, then one judgement a line

A trial's own file is never written again, so what another judge says of it stands here. A file
belongs to one judge, asked in one way, and is added to: what is there is not judged again, but for
trials of which that judge gave no verdict. Of two judgements of one trial the later one counts.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from pydantic import ValidationError

from auditor.errors import RunError, UsageError
from auditor.records import SCHEMA_VERSION, Record, TrialKey, TrialSummary, Verdict
from auditor.run.lock import locked
from auditor.run.record import utc_now
from auditor.run.store import make_run_dir
from auditor.scenario.schema import JudgeSpec

FOLDER = "judgements"
_R = TypeVar("_R", bound=Record)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class JudgementHeader(Record):
    """First line of a file of judgements."""

    type: Literal["header"] = "header"
    schema_version: int = SCHEMA_VERSION
    run: str
    name: str
    judge: str
    """The judge as it calls itself."""
    spec: JudgeSpec
    """Who scores, and how."""
    created: str
    """UTC time, ISO 8601."""


class Judgement(Record):
    """What a judge said of one trial."""

    type: Literal["judgement"] = "judgement"
    at: str
    """UTC time, ISO 8601."""
    key: TrialKey
    verdict: Verdict


class Judgements(NamedTuple):
    """A file of judgements, read."""

    header: JudgementHeader
    by_trial: dict[TrialKey, Judgement]
    size: int
    """Bytes of whole lines; what follows them was cut short."""


def judgements_path(run_dir: Path, name: str) -> Path:
    """Where the judgements of that name are.

    Raises:
        UsageError: When the name cannot be a file's.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"cannot call judgements {name!r}: use up to 128 letters, digits, '.', '_' and '-', "
            "and begin with a letter, a digit or '_'"
        )
    return run_dir / FOLDER / f"{name}.jsonl"


def judgement_names(run_dir: Path) -> list[str]:
    """Names of all judgements of a run, sorted."""
    return sorted(path.stem for path in (run_dir / FOLDER).glob("*.jsonl"))


def find_judgements(run_dir: Path, name: str) -> Judgements:
    """Read the judgements of a run that have this name.

    Raises:
        UsageError: When there are none; the message lists those that there are.
        RunError: When they cannot be read.
    """
    path = judgements_path(run_dir, name)
    if not path.is_file():
        there = ", ".join(judgement_names(run_dir))
        hint = f"there are {there}" if there else "make some with `auditor judge`"
        raise UsageError(f"run {run_dir.name} has no judgements {name!r}: {hint}")
    return read_judgements(path)


def read_judgements(path: Path) -> Judgements:
    """Read a file of judgements; a last line that was cut short is left out.

    Raises:
        RunError: When it cannot be read, or a whole line is no judgement.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error
    whole = content[: content.rfind(b"\n") + 1]
    lines = whole.splitlines()
    if not lines:
        raise RunError(f"{path}: no judgements: it was cut short; delete it, and judge again")
    header = _parsed(JudgementHeader, path, 1, lines[0])
    found = [_parsed(Judgement, path, n, line) for n, line in enumerate(lines[1:], start=2)]
    return Judgements(header, {one.key: one for one in found}, len(whole))


def _parsed(record: type[_R], path: Path, number: int, line: bytes) -> _R:
    try:
        return record.model_validate_json(line)
    except ValidationError as error:
        what = error.errors(include_url=False)[0]["msg"]
        raise RunError(f"{path}:{number}: not a {record.__name__}: {what}") from error


class JudgementFile:
    """Appends judgements; each line is flushed and synced."""

    def __init__(self, path: Path, there: dict[TrialKey, Judgement]) -> None:
        self.path = path
        self.there = there
        """What was there before, by trial."""

    def write(self, key: TrialKey, verdict: Verdict) -> Judgement:
        """Append one judgement.

        Raises:
            RunError: When the file cannot be written.
        """
        judgement = Judgement(at=utc_now(), key=key, verdict=verdict)
        _append(self.path, judgement)
        return judgement


@contextmanager
def open_judgements(
    run_dir: Path, name: str, *, judge: str, spec: JudgeSpec
) -> Iterator[JudgementFile]:
    """Open the judgements of that name for adding to them, alone.

    Raises:
        UsageError: When they are those of another judge.
        RunLockedError: When another process is adding to them.
        RunError: When they cannot be read or written.
    """
    path = judgements_path(run_dir, name)
    make_run_dir(path.parent)
    with locked(path.with_name(f".{name}.lock")):
        if not path.is_file() or b"\n" not in path.read_bytes():
            path.unlink(missing_ok=True)
            header = JudgementHeader(
                run=run_dir.name, name=name, judge=judge, spec=spec, created=utc_now()
            )
            _append(path, header)
        found = read_judgements(path)
        if _asked(found.header.spec) != _asked(spec):
            raise UsageError(
                f"judgements {name!r} of run {run_dir.name} are those of {found.header.judge}, "
                "asked in another way: choose another name with --name"
            )
        os.truncate(path, found.size)
        yield JudgementFile(path, found.by_trial)


def _asked(spec: JudgeSpec) -> dict[str, object]:
    """What decides a verdict; how many are asked at once, and how long to wait, does not."""
    asked = spec.model_dump(mode="json")
    for key in ("concurrency", "timeout", "key_env"):
        (asked["model"] or {}).pop(key, None)
    return asked


def _append(path: Path, record: Record) -> None:
    try:
        with path.open("ab") as file:
            file.write(record.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error


def default_name(spec: JudgeSpec) -> str:
    """Name judgements after the judge: rubric, or the model, the protocol and the votes."""
    if spec.kind == "rubric" or spec.model is None:
        return "rubric"
    votes = f"-{spec.votes}" if spec.votes > 1 else ""
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", spec.model.name).strip("-")
    return f"{plain[:80]}-{spec.protocol}{votes}"


def judged_by(summaries: Iterable[TrialSummary], judgements: Judgements) -> list[TrialSummary]:
    """Return trials as another judge scored them; those that it did not judge are unfinished."""
    return [_rejudged(one, judgements.by_trial.get(one.key)) for one in summaries]


def _rejudged(summary: TrialSummary, judgement: Judgement | None) -> TrialSummary:
    if summary.submission is None:
        return summary
    if judgement is None:
        return summary.model_copy(update={"verdict": None, "status": "unfinished", "error": None})
    status = "scored" if judgement.verdict.valid else "invalid"
    return summary.model_copy(
        update={"verdict": judgement.verdict, "status": status, "error": None}
    )
