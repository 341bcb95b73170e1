"""What Prometheus is told is what happened."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from test_framework.backend_client import BackendClient
from test_framework.servers import Server
from test_framework.test_context import TestContext
from test_framework.users import TestUserContext
from tests.unit.api.inside import eventually

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def read(server: Server) -> Samples:
    async with BackendClient(server.url) as client:
        text = (await client.request("GET", "/metrics")).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def plain(samples: Samples, name: str) -> float:
    return samples[name, frozenset()]


def requests(samples: Samples, method: str, route: str, status: str) -> float:
    labels = frozenset({("method", method), ("route", route), ("status", status)})
    return samples.get(("http_requests_count", labels), 0)


async def test_what_was_committed_is_delivered_to_every_watcher_and_counted(server: Server) -> None:
    user = TestUserContext.of(server.settings)
    async with TestContext(server, user) as first, TestContext(server, user) as second:
        run = await first.run_agent("hello")
        await second.wait_for_end(run.id)

        samples = await read(server)

        assert plain(samples, "watchers") == 2
        assert plain(samples, "events_committed_total") == 5
        assert plain(samples, "events_published_total") == 5
        assert plain(samples, "events_delivered_total") == 5 * 2
        assert plain(samples, "events_left_to_journal_total") == 0
        assert plain(samples, "slow_sockets_closed_total") == 0
        assert plain(samples, "bus_healthy") == 1
        assert 0 <= plain(samples, "events_lag_seconds") < 5
    await eventually(lambda: read(server), lambda samples: plain(samples, "watchers") == 0)


async def test_requests_are_counted_by_their_route_and_not_by_their_path(server: Server) -> None:
    async with TestContext(server) as ada:
        run = await ada.client.start_run("hello")
        for path in (run.id, "abc", "def"):
            await ada.client.request("GET", f"/api/runs/{path}")
        for path in ("/one", "/two", "/web/page.js", "/web/nowhere"):
            await ada.client.request("GET", path)
        await ada.client.request("BREW", "/api/runs")

        samples = await read(server)

        assert requests(samples, "POST", "/api/runs", "202") == 1
        assert requests(samples, "GET", "/api/runs/{run_id}", "200") == 1
        assert requests(samples, "GET", "/api/runs/{run_id}", "404") == 2
        routes = {dict(labels)["route"] for name, labels in samples if name == "http_requests_count"}
        assert not [route for route in routes if run.id in route or route in {"/one", "/two", "/web/page.js"}], routes
        assert "BREW" not in {dict(labels)["method"] for name, labels in samples if name == "http_requests_count"}
