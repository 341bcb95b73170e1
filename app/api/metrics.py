"""`GET /metrics`: what Prometheus is told. The numbers are kept as plain integers where they arise, and only read here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response

from app.api.dependencies import ServiceDep
from app.service import Service

if TYPE_CHECKING:
    from prometheus_client.core import Metric

router = APIRouter(include_in_schema=False)

COUNTERS = {
    "events_committed": "events whose commit this process saw",
    "events_published": "events this process gave to the bus",
    "events_left_to_journal": "events the bus did not take; hubs read them from the journal",
    "events_received": "events the bus brought for watched users",
    "events_delivered": "events handed to sockets and streams, each counted per socket",
    "events_gaps_filled": "events a hub read from the journal, because the bus had not brought them",
    "slow_sockets_closed": "watchers that were sent away because they read too slowly",
}


@router.get("/metrics")
async def metrics(service: ServiceDep) -> Response:
    """Tell this process's numbers."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    registry.register(_Numbers(service))
    ProcessCollector(registry=registry)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Numbers:
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

        service, tally = self._service, self._service.tally
        for name, meaning in COUNTERS.items():
            yield CounterMetricFamily(name, meaning, getattr(tally, name.removeprefix("events_")))
        gauges = {
            "events_lag_seconds": ("from an event's writing to its delivery, as last sampled", tally.lag_seconds),
            "watchers": ("sockets and streams that are shown events", service.hub.watchers),
            "runs_at_work": ("runs this process works on", service.runner.busy),
            "runs_silent": ("runs at work without a word for longer than they should be", service.runner.silent),
            "bus_healthy": ("1 while the bus carries events, 0 while the journal does", int(service.bus.healthy)),
        }
        for name, (meaning, value) in gauges.items():
            yield GaugeMetricFamily(name, meaning, value)
        requests = SummaryMetricFamily(
            "http_requests", "requests and the seconds they took", labels=["method", "route", "status"]
        )
        for (method, route, status), (count, seconds) in service.requests.items():
            requests.add_metric([method, route, str(status)], count, seconds)
        yield requests
