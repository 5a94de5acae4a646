"""Trials as spans: one trace each, no texts unless they are asked for, the same whenever sent."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import RunError
from auditor.report.export.files import recorded
from auditor.run.listing import trial_files

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from auditor.report.export.spans import send_spans


class Kept(SpanExporter):
    """Keeps what is sent, or takes nothing."""

    def __init__(self, *, takes: bool = True) -> None:
        self.spans: list[dict[str, Any]] = []
        self.takes, self.ended = takes, False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += [json.loads(span.to_json()) for span in spans]
        return SpanExportResult.SUCCESS if self.takes else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.ended = True


def sent(run_dir: Path, *, content: bool = False) -> list[dict[str, Any]]:
    kept = Kept()
    assert send_spans(recorded(trial_files(run_dir)), kept, content=content) == len(kept.spans)
    assert kept.ended
    return kept.spans


def test_every_trial_is_a_trace_of_its_calls(small_run: Path) -> None:
    spans = sent(small_run)
    traces: dict[str, list[dict[str, Any]]] = {}
    for span in spans:
        traces.setdefault(span["context"]["trace_id"], []).append(span)
    assert len(traces) == 12
    for found in traces.values():
        *calls, audit = found
        assert audit["name"] == "invoke_agent ledger"
        assert [one["name"] for one in calls] == ["execute_tool chat", "execute_tool nla_explain"]
        assert {one["parent_id"] for one in calls} == {audit["context"]["span_id"]}
        assert audit["events"][0]["name"] == "gen_ai.evaluation.result"
        assert audit["start_time"] == "2026-01-02T03:04:05.000000Z"


def test_texts_go_along_only_when_asked_for(small_run: Path) -> None:
    bare, whole = json.dumps(sent(small_run)), json.dumps(sent(small_run, content=True))
    for text in ("pwned", "came of chat", "wants approval"):
        assert text not in bare
        assert text in whole


def test_unknown_figures_are_left_out(small_run: Path) -> None:
    audit = sent(small_run)[-1]["attributes"]
    assert "gen_ai.usage.output_tokens" not in audit
    assert audit["auditor.usage.target_tokens"] == 20


def test_what_is_sent_twice_is_the_same(small_run: Path) -> None:
    assert sent(small_run) == sent(small_run)


def test_a_collector_that_takes_nothing_is_named(small_run: Path) -> None:
    kept = Kept(takes=False)
    with pytest.raises(RunError, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        send_spans(recorded(trial_files(small_run)), kept, content=False)
    assert kept.ended
