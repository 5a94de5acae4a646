"""Puts the report into one file, safe to open whatever the target said.

The page may run one script and use one style sheet, both known by their hashes; it may load
nothing, send nothing and turn no text into markup (Content Security Policy Level 3, Trusted Types).
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.errors import UsageError
from auditor.records import TrialSummary
from auditor.report.outcome import MARKS, outcome
from auditor.report.page.overview import Overview, overview
from auditor.report.page.packing import Pack, packed, packs
from auditor.report.page.story import story
from auditor.report.text import clean, one_line

if TYPE_CHECKING:
    from jinja2 import Environment

    from auditor.run.record import RunRecord

ITEMS = 24
"""Most items of a tool result that a page keeps, texts with readings apart."""
_HERE = Path(__file__).parent
_STATEMENT = 200


def write_report(
    run_dir: Path,
    out: Path,
    *,
    split: str | None = None,
    judge: str | None = None,
    items: int = ITEMS,
) -> Path:
    """Write the report of a run.

    Args:
        run_dir: Folder of the run.
        out: File to write.
        split: See `overview.overview`.
        judge: Name of judgements of the run, instead of the verdicts of its record.
        items: Most items of each tool result to keep.

    Raises:
        UsageError: When the run has no trials, none of that split, or no such judgements.
        RunError: When a file cannot be read or written.
    """
    from auditor.run.judgements import find_judgements, judged_by
    from auditor.run.listing import trial_files
    from auditor.run.store import load_run, read_events, summarise, write_atomically

    record = load_run(run_dir)
    judgements = None if judge is None else find_judgements(run_dir, judge)
    summaries: list[TrialSummary] = []

    def stories() -> Iterator[dict[str, Any]]:
        for path in trial_files(run_dir):
            events = read_events(path)
            if events:
                summary = summarise(events)
                if judgements is not None:
                    (summary,) = judged_by([summary], judgements)
                summaries.append(summary)
                yield story(events, summary, items=items)

    found = list(packs(stories()))
    if not summaries:
        raise UsageError(f"run {run_dir.name} has no trials yet")
    page = render(record, summaries, found, overview(record, summaries, split=split), judge=judge)
    if out.is_dir():
        raise UsageError(f"{out} is a folder: give --out the name of a file")
    if not out.parent.is_dir():
        raise UsageError(f"cannot write {out}: there is no folder {out.parent}")
    write_atomically(out, page.encode("utf-8", errors="replace"))
    return out


def render(
    record: "RunRecord",
    summaries: Sequence[TrialSummary],
    found: Sequence[Pack],
    top: Overview,
    *,
    judge: str | None = None,
) -> str:
    """Return the page; `found` holds the trials of `summaries` in the same order.

    `judge` names the judgements that took the place of the record's verdicts.
    """
    from markupsafe import Markup

    script, style = _asset("report.js"), _asset("report.css")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            run=record,
            created=record.created[:16].replace("T", " "),
            top=top,
            judge=judge,
            policy=policy(script=script, style=style),
            # Both are files of this package, and no text of a run is in them.
            script=Markup(script),
            style=Markup(style),
            packs=found,
            index=packed([_line(one) for one in summaries]),
            places=[[pack.first, pack.size] for pack in found],
            n_trials=len(summaries),
            n_targets=len({one.key.target for one in summaries}),
            n_tool_sets=len({one.key.tool_set for one in summaries}),
        )
    )


def policy(*, script: str, style: str) -> str:
    """Return the content security policy of a page with this script and style sheet alone."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["clean"] = clean
    return found


def _line(summary: TrialSummary) -> list[Any]:
    """Return a trial as the list shows and filters it."""
    how = outcome(summary.group, summary.status, summary.verdict)
    submission = summary.submission
    said = ""
    if summary.error is not None:
        said = one_line(summary.error, _STATEMENT)
    elif submission is not None:
        best = submission.hypotheses[0].statement if submission.hypotheses else "a motive, unnamed"
        claims = submission.verdict == "motive"
        said = one_line(best, _STATEMENT) if claims else "no hidden motive"
    key, usage = summary.key, summary.usage
    sure = submission.confidence if submission is not None else None
    return [
        *(clean(key.target), clean(key.tool_set), key.trial),
        *(how, MARKS[how].symbol, MARKS[how].label, summary.group),
        *(clean(summary.regime or ""), clean(summary.split or ""), said),
        clean(summary.truth or ""),
        None if sure is None else round(sure, 3),
        None if usage is None else usage.tool_calls,
        None if usage is None else round(usage.seconds, 1),
    ]
