"""What Prometheus is told is what happened."""

from __future__ import annotations

import re

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from commitstream.tests.jobs.application import create_app
from commitstream.tests.jobs.client import JobsClient, JobsContext
from commitstream.tests.jobs.conftest import MakeJobsSettings
from commitstream.tests.jobs.inside import Inside, assert_problem, bearer, eventually, open_up
from test_framework import CHECKOUT
from test_framework.servers import Server
from test_framework.users import TestUserContext

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def read(server: Server) -> Samples:
    async with JobsClient(server.url) as client:
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
    async with JobsContext(server, user) as first, JobsContext(server, user) as second:
        job = await first.do("hello")
        await second.wait_for_end(job.id)

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


async def test_every_metric_that_the_documentation_names_is_exported(server: Server) -> None:
    chapter = (
        (CHECKOUT / "docs" / "operations.md")
        .read_text(encoding="utf-8")
        .partition("## Metrics")[2]
        .partition("\n## ")[0]
    )
    rows = [line for line in chapter.splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    of_the_example = {name for name in documented if name.startswith("runs_")}

    exported = {name for name, _ in await read(server)}

    assert documented > of_the_example
    assert documented - of_the_example <= exported


async def test_requests_are_counted_by_their_route_and_not_by_their_path(server: Server) -> None:
    async with JobsContext(server) as ada:
        job = await ada.client.start("hello")
        for path in (job.id, "abc", "def"):
            await ada.client.request("GET", f"/api/jobs/{path}")
        for path in ("/one", "/two", "/files/client.py", "/files/nowhere"):
            await ada.client.request("GET", path)
        await ada.client.request("BREW", "/api/jobs")

        samples = await read(server)

        assert requests(samples, "POST", "/api/jobs", "202") == 1
        assert requests(samples, "GET", "/api/jobs/{job_id}", "200") == 1
        assert requests(samples, "GET", "/api/jobs/{job_id}", "404") == 2
        routes = {dict(labels)["route"] for name, labels in samples if name == "http_requests_count"}
        assert not [route for route in routes if job.id in route or route in {"/one", "/two", "/files/client.py"}], (
            routes
        )
        assert "BREW" not in {dict(labels)["method"] for name, labels in samples if name == "http_requests_count"}


TOKEN = "kMt7-sS0q_4vYx2n9Lb8Rw1cJe5Hg3Td6Uf"


async def scrape(inside: Inside, peer: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """Ask as somebody at an address."""
    transport = httpx.ASGITransport(inside.app, client=(peer, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get("/metrics", headers=headers)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
async def test_metrics_are_told_to_this_machine(inside: Inside, peer: str) -> None:
    assert (await scrape(inside, peer)).status_code == 200


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("10.0.0.7", {}),
        ("fe80::1", {}),
        ("::ffff:10.0.0.7", {}),
        ("somewhere", {}),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.7"}),
        ("127.0.0.1", {"Forwarded": "for=10.0.0.7"}),
        ("10.0.0.7", bearer("guessed")),
    ],
)
async def test_metrics_are_told_to_nobody_else(inside: Inside, peer: str, headers: dict[str, str]) -> None:
    assert_problem(await scrape(inside, peer, headers), 403, "JOBS_METRICS_TOKEN")


async def test_with_a_token_metrics_are_told_to_whoever_has_it_and_to_nobody_else(
    make_settings: MakeJobsSettings,
) -> None:
    settings = make_settings(metrics_token=TOKEN)
    async with open_up(settings, create_app(settings)) as inside:
        for peer in ("10.0.0.7", "127.0.0.1"):
            assert (await scrape(inside, peer, bearer(TOKEN))).status_code == 200
            for worthless in ({}, bearer(""), bearer(TOKEN[:-1]), {"Authorization": TOKEN}):
                answer = await scrape(inside, peer, worthless)
                assert_problem(answer, 401, "JOBS_METRICS_TOKEN")
                assert answer.headers["www-authenticate"] == "Bearer"
