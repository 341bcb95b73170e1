"""`GET /metrics`: the metrics for Prometheus, read from plain integers.

They show how much the service is used, and for what: so they are served to loopback, or to clients with the token.
"""

from __future__ import annotations

from collections.abc import Iterator
from hmac import compare_digest
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from commitstream.engine import Engine
from commitstream.service.dependencies import EngineDep
from commitstream.service.loopback import on_loopback
from commitstream.service.problems import Problem

if TYPE_CHECKING:
    from prometheus_client.core import Metric

router = APIRouter(include_in_schema=False)

FORWARDED = {"forwarded", "x-forwarded-for", "x-real-ip", "via"}

COUNTERS = {
    "events_committed": "events whose commit this process saw",
    "events_published": "events this process gave to the bus",
    "events_left_to_journal": "events the bus did not take; hubs read them from the journal",
    "events_received": "events the bus brought for watched users",
    "events_delivered": "events sent to sockets and streams, each counted per socket",
    "events_gaps_filled": "events a hub read from the journal, because the bus had not brought them",
    "slow_sockets_closed": "watchers that were closed because they read too slowly",
}


async def require_scraper(request: Request, engine: EngineDep) -> None:
    """Refuse a request without the token; where none is set, one that is not from loopback."""
    variable = engine.settings.variable("metrics_token")
    token = engine.settings.metrics_token.get_secret_value()
    if token:
        given = request.headers.get("authorization", "")
        if not compare_digest(given.encode(), f"Bearer {token}".encode()):
            challenge = {"WWW-Authenticate": "Bearer"}
            raise Problem(HTTPStatus.UNAUTHORIZED, f"send {variable}, as Authorization: Bearer <token>", challenge)
    elif request.client is None or not on_loopback(request.client.host) or FORWARDED & set(request.headers):
        raise Problem(HTTPStatus.FORBIDDEN, f"metrics are served to loopback alone: set {variable} to scrape from afar")


@router.get("/metrics", dependencies=[Depends(require_scraper)])
async def metrics(engine: EngineDep) -> Response:
    """Return this process's metrics."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    registry.register(_Numbers(engine))
    ProcessCollector(registry=registry)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Numbers:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

        engine, counters = self._engine, self._engine.counters
        for name, meaning in COUNTERS.items():
            yield CounterMetricFamily(name, meaning, getattr(counters, name.removeprefix("events_")))
        gauges = {
            "events_lag_seconds": ("from an event's writing to its delivery, as last sampled", counters.lag_seconds),
            "watchers": ("sockets and streams that events are sent to", engine.hub.watchers),
            "bus_healthy": ("1 while the bus carries events, 0 while the journal does", int(engine.bus.healthy)),
        }
        for name, (meaning, value) in gauges.items():
            yield GaugeMetricFamily(name, meaning, value)
        for domain in engine.domains:
            for name, gauge in domain.gauges().items():
                yield GaugeMetricFamily(name, gauge.meaning, gauge.value)
        requests = SummaryMetricFamily(
            "http_requests", "requests and the seconds they took", labels=["method", "route", "status"]
        )
        for (method, route, status), (count, seconds) in engine.requests.items():
            requests.add_metric([method, route, str(status)], count, seconds)
        yield requests
