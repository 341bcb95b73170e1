"""Traces, where OpenTelemetry's packages and settings are present.

FastAPI depends on OpenTelemetry's API, which does nothing until a provider is set, and records each request once one
is. The spans of runs, tools, models and publishing are children of the request that caused them, and share its trace id
with the logs and the journal. A provider that the program has set itself (`opentelemetry-instrument`) is kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from opentelemetry import trace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

EXPORTERS = "OTEL_TRACES_EXPORTER"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
FLUSH_SECONDS = 2.0

tracer = trace.get_tracer("commitstream")


class TracingUnavailable(Exception):
    """The settings ask for traces, and a package for that is not installed."""


def wanted(environment: Mapping[str, str]) -> list[str]:
    """Return the exporters that OpenTelemetry's settings ask for; an endpoint alone asks for `otlp`."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return []
    names = environment.get(EXPORTERS) or ("otlp" if any(map(environment.get, ENDPOINTS)) else "none")
    return [name.strip() for name in names.split(",") if name.strip() not in {"", "none"}]


def set_up(service_name: str) -> TracerProvider | None:
    """Export traces as the environment says; None where there is nothing to do."""
    names = wanted(os.environ)
    if not names or not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as missing:
        raise TracingUnavailable(f"the settings of OpenTelemetry ask for traces: {_install(names)}") from missing
    os.environ.setdefault("OTEL_SERVICE_NAME", service_name)
    provider = TracerProvider(resource=Resource.create(), shutdown_on_exit=False)
    for name in names:
        found = entry_points(group="opentelemetry_traces_exporter", name=name)
        if not found:
            raise TracingUnavailable(f"there is no exporter of traces named {name}: {_install([name])}")
        provider.add_span_processor(BatchSpanProcessor(next(iter(found)).load()()))
    trace.set_tracer_provider(provider)
    return provider


def _install(names: list[str]) -> str:
    exporters = " ".join(f"opentelemetry-exporter-{name.replace('_', '-')}" for name in names if name != "console")
    return f"pip install opentelemetry-sdk {exporters}".strip() + f", or unset {EXPORTERS} and {ENDPOINTS[1]}"


def current_trace_id() -> str | None:
    """Return the id of the current trace, or None."""
    found = trace.get_current_span().get_span_context()
    return trace.format_trace_id(found.trace_id) if found.is_valid else None
