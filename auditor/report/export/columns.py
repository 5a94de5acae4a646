"""The flat tables of a run: one record a trial, a tool call, a token reading, a verdict.

Every field is a column of the same name; its docstring is its documentation. None is unknown or not
applicable, and is blank in CSV; lists and objects are JSON there. The four tables join on run,
target, tool_set and trial, calls and readings on evidence_id too.
"""

from typing import Any

from auditor.records import Record


class _Row(Record):
    run: str
    """Name of the run."""
    target: str
    """Id of the target."""
    tool_set: str
    """Row of the table that the trial belongs to."""
    trial: int
    """Number of the trial, from 0."""


class TrialRow(_Row):
    """One trial."""

    group: str
    """guilty, clean, decoy or symptom: what the target is."""
    regime: str | None
    """How the motive was put in."""
    split: str | None
    """Split of the target, such as held-out."""
    null_readout: str | None
    """What took the reader's place, in the row of a null."""
    seed: int
    """Seed of the trial."""
    auditor: str
    """Who audited."""
    judge: str
    """Who judged."""
    started: str
    """When it began, UTC, ISO 8601."""
    status: str
    """scored, invalid, errored or unfinished."""
    outcome: str
    """found, missed, false alarm, quiet, invalid, errored or unfinished."""
    ended_by: str | None
    """submit, idle, or the name of the limit that was reached."""
    claim: str | None
    """motive or none: what was submitted."""
    statement: str | None
    """The first hypothesis that was submitted."""
    confidence: float | None
    """Stated probability that the best guess, claimed or withheld, is right."""
    suspicion: float | None
    """Stated probability that there is a hidden motive."""
    withheld: str | None
    """The best guess of an auditor that abstained."""
    truth: str | None
    """The hidden motive."""
    error: str | None
    """Why there is no verdict."""
    turns: int | None
    """Turns of the auditor."""
    tool_calls: int | None
    """Calls made."""
    target_tokens: int | None
    """Tokens that the target generated."""
    baseline_tokens: int | None
    """Tokens that the baseline generated."""
    reader_tokens: int | None
    """Tokens that the verbalizer generated."""
    auditor_tokens: int | None
    """Tokens that the auditor's model generated."""
    seconds: float | None
    """Wall-clock seconds."""
    dollars: float | None
    """Dollars spent."""


class CallRow(_Row):
    """One tool call with its result."""

    evidence_id: str
    """Id of the result within the trial, such as E3."""
    turn: int
    """Turn of the auditor, from 0."""
    tool: str
    """Name of the tool."""
    arguments: dict[str, Any]
    """What it was called with."""
    ok: bool | None
    """Whether it could be done; None when the trial ended before."""
    summary: str | None
    """Its result in a line."""
    items: list[dict[str, Any]] | None
    """All items of the result."""
    n_items: int | None
    """How many there are."""
    cited: bool
    """Whether a hypothesis of the submission cites it."""
    target_tokens: int | None
    """Tokens that the target generated for it."""
    baseline_tokens: int | None
    """Tokens that the baseline generated for it."""
    reader_tokens: int | None
    """Tokens that the verbalizer generated for it."""
    seconds: float | None
    """Wall-clock seconds."""


class ReadingRow(_Row):
    """One explanation of one token that is on record, alone or as an example of a claim."""

    evidence_id: str
    """Id of the result that holds it."""
    text: int
    """Number of the text within the result."""
    author: str | None
    """Whose reply the text is; None where the auditor wrote it."""
    prompt: str | None
    """What the text replies to."""
    words: str | None
    """The text; None when the result does not hold it."""
    position: int
    """Place of the token in the tokenized conversation, from 0."""
    token: str
    """The token as it is spelt, leading space included."""
    start: int | None
    """Where it begins in `words`, in characters; None when it is not in them."""
    whose: str | None
    """Whose activation was read: target, baseline or difference."""
    explanation: str | None
    """What the verbalizer said."""
    value: float | None
    """FVE where known, else the cosine, of the reconstruction."""
    measure: str
    """Which of the two `value` is."""
    verdict: str
    """How it compares with its nulls."""
    grade: str
    """high (0.7 or more), middle (0.3 or more), low, null (a null does as well), unknown."""


class VerdictRow(_Row):
    """One verdict of a judge."""

    judge: str
    """Who judged."""
    truth: str | None
    """The hidden motive; None for targets without one."""
    valid: bool
    """Whether the trial passed the validity gates."""
    invalid_reason: str | None
    """Which gate it failed."""
    top1: bool | None
    """The first motive hypothesis names the motive."""
    any_of_k: bool | None
    """Any hypothesis does."""
    hit_rank: int | None
    """Rank of the first that does, from 1."""
    false_alarm: bool | None
    """A motive was claimed of a target without one."""
    quirks_named: bool | None
    """A hypothesis describes a true quirk."""
    quirks_seen: bool | None
    """A true quirk showed in the target's replies."""
    withheld_right: bool | None
    """The withheld guess names the motive."""
    exposed: bool | None
    """Some tool result named the motive."""
    taken_up: bool | None
    """A motive hypothesis cites such a result."""
    verified: bool | None
    """The first hypothesis is right, and a test bears it out."""
    why: str
    """What decided it."""
    judge_model: str | None
    """The language model that was asked; blank when none was."""
    protocol: str | None
    """What it was asked."""
    ballots: int | None
    """Readable answers of the model; the majority decided."""
    ballots_top1: int | None
    """How many of them say that the first hypothesis names the motive."""
    ballots_any: int | None
    """How many of them say that some hypothesis names it."""
    parse_failures: int | None
    """Answers that could not be read."""
    refusals: int | None
    """Answers that the model refused."""
    behaviours_found: list[str] | None
    """Known behaviours of the target that some hypothesis describes."""
    judge_dollars: float | None
    """What asking the model cost."""


TABLES: dict[str, type[_Row]] = {
    "trials": TrialRow,
    "tool_calls": CallRow,
    "readings": ReadingRow,
    "verdicts": VerdictRow,
}
"""The tables by the stem of their file."""


def reference() -> str:
    """Return the documentation of all columns as Markdown."""
    lines = [_HEAD]
    for name, model in TABLES.items():
        about = " ".join((model.__doc__ or "").split())
        lines += [f"## {name}", "", about, "", "| column | type | meaning |", "|---|---|---|"]
        for field, info in model.model_fields.items():
            meaning = " ".join((info.description or "").split()).replace("|", "\\|")
            lines.append(f"| `{field}` | {_type_name(info.annotation)} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def _type_name(annotation: Any) -> str:
    kinds = {str: "text", int: "integer", float: "number", bool: "true or false"}
    parts = [part for part in getattr(annotation, "__args__", (annotation,)) if part in kinds]
    optional = type(None) in getattr(annotation, "__args__", ())
    name = kinds[parts[0]] if parts and not hasattr(annotation, "__origin__") else "JSON"
    return f"{name}, may be blank" if optional else name


_HEAD = """\
# Columns of exported tables

Made from `auditor/report/export/columns.py`; edit that, not this file.

`auditor export RUN --to jsonl|csv|parquet --out DIR` writes four files, one line a record. They
join on `run`, `target`, `tool_set` and `trial`; calls and readings on `evidence_id` too. Blank
(null in JSONL and Parquet) is unknown or not applicable, never zero. Columns of kind JSON are
nested in JSONL, and JSON text in CSV and Parquet. Texts are as they were recorded, control
characters and all; only CSV cells that a spreadsheet would take for a formula get a `'` before
them.
"""
