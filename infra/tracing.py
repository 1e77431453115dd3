"""Traces: what happens to an event, from the client to the sockets that hear of it (OpenTelemetry).

An edge decides which events are traced. Their context travels in batches and inbox entries as a
`traceparent` (W3C Trace Context), so that workers and other edges go on with the same trace. Without
`start_tracing`, nothing is traced, and OpenTelemetry is not even imported.
"""

import random
import time
from typing import TYPE_CHECKING, Any, Final

from infra.settings.base import SettingsError
from infra.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_FIELD: Final = "traceparent"

_tracer: "Tracer | None" = None
_ratio = 0.0


def start_tracing(ratio: float, part: str) -> None:
    """Trace this share of events, and export spans as the `OTEL_...` variables say. Raises SettingsError."""
    global _tracer, _ratio
    if not ratio:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            'BBGRAM_TRACE_RATIO needs OpenTelemetry: pip install "bbgram-chat[tracing]".'
        ) from error
    resource = Resource.create({"service.name": f"bbgram-{part}", "service.version": VERSION})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer, _ratio = provider.get_tracer("bbgram", VERSION), ratio


def begin_trace(name: str, **attributes: Any) -> "Span | None":
    """Begin a trace with a span, if this event is to be traced."""
    if _tracer is None or random.random() >= _ratio:  # noqa: S311
        return None
    from opentelemetry.trace import SpanKind

    return _tracer.start_span(name, kind=SpanKind.SERVER, attributes=attributes)


def begin_span(
    name: str, parent: str | None, began_ns: int | None = None, **attributes: Any
) -> "Span | None":
    """Begin a span within the trace of a `traceparent`, now or at that time since the epoch."""
    if _tracer is None or parent is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({_FIELD: parent})
    return _tracer.start_span(name, context, start_time=began_ns, attributes=attributes)


def record_span(name: str, parent: str | None, began_ns: int, **attributes: Any) -> None:
    """Record a span that began at that time since the epoch and ends now."""
    end(begin_span(name, parent, began_ns, **attributes))


def end(span: "Span | None", **attributes: Any) -> None:
    """End a span now."""
    if span is not None:
        span.set_attributes(attributes)
        span.end()


def traceparent(span: "Span | None") -> str | None:
    """Return what others need to go on with the trace."""
    if span is None:
        return None
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def trace_id(parent: str) -> str:
    """Return the id of the trace, for logs."""
    return parent.split("-")[1] if parent.count("-") == 3 else parent[:64]


now_ns = time.time_ns
