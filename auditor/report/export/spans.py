"""Trials as OpenTelemetry spans, sent after the fact to a collector that speaks OTLP.

One trace a trial: `invoke_agent` over the whole audit, `execute_tool` for each call, and an event
`gen_ai.evaluation.result` for the verdict, by the semantic conventions for generative AI. Times are
those of the record. Ids derive from the trial's key, so what is sent twice is the same trace. Texts
are left out unless they are asked for.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from auditor.errors import RunError, UsageError
from auditor.records import ErrorEvent, ToolCallEvent, ToolResultEvent, TrialEvent
from auditor.report.export.rows import Recorded
from auditor.report.outcome import outcome

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

_SYSTEM = "auditor"
_BILLION = 1_000_000_000


def send_spans(trials: Iterable[Recorded], exporter: "SpanExporter", *, content: bool) -> int:
    """Send trials and return how many spans that were.

    Args:
        trials: Trials, sent one after the other.
        exporter: Where to; it is shut down at the end.
        content: Whether arguments, results and hypotheses go with the spans.

    Raises:
        RunError: When the collector does not take them.
    """
    from opentelemetry.sdk.trace.export import SpanExportResult

    sent = 0
    try:
        for trial in trials:
            spans = spans_of(trial, content=content)
            if exporter.export(spans) is not SpanExportResult.SUCCESS:
                raise RunError(
                    f"the collector did not take trial {trial.key}: name it with "
                    "OTEL_EXPORTER_OTLP_ENDPOINT, and see that it listens"
                )
            sent += len(spans)
    finally:
        exporter.shutdown()
    return sent


def otlp_exporter() -> "SpanExporter":
    """Return what sends spans as OTLP over HTTP, set up by the usual `OTEL_*` variables.

    Raises:
        UsageError: When the libraries are not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise UsageError(
            "sending spans needs OpenTelemetry; install it with: pip install 'auditor[otel]'"
        ) from error
    # What it logs while it tries again is said once, and better, when it gives up.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return OTLPSpanExporter()


def spans_of(trial: Recorded, *, content: bool) -> "Sequence[ReadableSpan]":
    """Return the spans of one trial, those of calls first."""
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    provider = TracerProvider(
        resource=Resource.create({"service.name": _SYSTEM}),
        id_generator=_ids(str(trial.key)),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer(_SYSTEM)
    audit = tracer.start_span(
        f"invoke_agent {trial.started.auditor}",
        start_time=_nanoseconds(trial.events[0]),
        attributes=_about(trial, content=content),
    )
    inside = trace.set_span_in_context(audit)
    for call, result in trial.calls:
        _call(tracer, inside, call, result, content=content)
    _evaluate(audit, trial)
    audit.end(end_time=_nanoseconds(trial.events[-1]))
    return kept.get_finished_spans()


def _about(trial: Recorded, *, content: bool) -> dict[str, Any]:
    summary, usage = trial.summary, trial.summary.usage
    found: dict[str, Any] = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": trial.started.auditor,
        "gen_ai.conversation.id": str(trial.key),
        "auditor.run": trial.key.run,
        "auditor.target": trial.key.target,
        "auditor.tool_set": trial.key.tool_set,
        "auditor.trial": trial.key.trial,
        "auditor.ended_by": summary.ended_by,
        "auditor.usage.target_tokens": usage.target_tokens if usage else None,
        "auditor.usage.baseline_tokens": usage.baseline_tokens if usage else None,
        "auditor.usage.reader_tokens": usage.reader_tokens if usage else None,
        "gen_ai.usage.output_tokens": usage.auditor_tokens if usage else None,
    }
    if content and summary.submission is not None:
        found["auditor.submission"] = summary.submission.model_dump_json()
    return _known(found)


def _call(
    tracer: "Tracer",
    inside: Any,
    call: ToolCallEvent,
    result: ToolResultEvent | None,
    *,
    content: bool,
) -> None:
    from opentelemetry.trace import StatusCode

    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.tool,
        "gen_ai.tool.call.id": call.evidence_id,
        "gen_ai.tool.type": "function",
        "auditor.turn": call.turn,
        "auditor.items": len(result.items) if result else None,
    }
    if content:
        attributes["gen_ai.tool.call.arguments"] = json.dumps(call.arguments, default=str)
        attributes["gen_ai.tool.call.result"] = result.summary if result else None
    span = tracer.start_span(
        f"execute_tool {call.tool}",
        context=inside,
        start_time=_nanoseconds(call),
        attributes=_known(attributes),
    )
    if result is not None and not result.ok:
        span.set_attribute("error.type", "tool_error")
        span.set_status(StatusCode.ERROR)
    span.end(end_time=_nanoseconds(result or call))


def _evaluate(span: "Span", trial: Recorded) -> None:
    """Add the verdict, or why there is none."""
    from opentelemetry.trace import StatusCode

    summary = trial.summary
    last = trial.events[-1]
    if any(isinstance(event, ErrorEvent) for event in trial.events):
        span.set_attribute("error.type", "trial_error")
        span.set_status(StatusCode.ERROR)
    if summary.verdict is not None:
        span.add_event(
            "gen_ai.evaluation.result",
            {
                "gen_ai.evaluation.name": trial.started.judge,
                "gen_ai.evaluation.score.label": outcome(
                    summary.group, summary.status, summary.verdict
                ),
            },
            timestamp=_nanoseconds(last),
        )


def _known(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _nanoseconds(event: TrialEvent) -> int:
    moment = datetime.fromisoformat(event.at)
    seconds = int(moment.timestamp())
    return seconds * _BILLION + moment.microsecond * 1_000


def _ids(key: str) -> Any:
    """Return a generator of ids that depend on the key and on their order alone."""
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class Ids(IdGenerator):
        def __init__(self) -> None:
            self._spans = 0

        def generate_trace_id(self) -> int:
            return _number(f"trace {key}", 16)

        def generate_span_id(self) -> int:
            self._spans += 1
            return _number(f"span {self._spans} {key}", 8)

    return Ids()


def _number(text: str, size: int) -> int:
    # Zero is no id.
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size]) or 1
