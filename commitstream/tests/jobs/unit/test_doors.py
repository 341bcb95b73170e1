"""What is turned away before any route sees it, and what browsers are told."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from commitstream.service.request_guard import LARGEST_BODY
from commitstream.tests.jobs.application import LONGEST_MESSAGE, create_app
from commitstream.tests.jobs.conftest import MakeJobsSettings
from commitstream.tests.jobs.inside import Inside, assert_problem, open_up, started

FOREIGN_HOSTS = [
    "evil.example", "localhost.evil.example", "evil.example:8000", "localhost@evil.example", "localhost:80:80", "[::2]",
    "127.0.0.1.nip.io", "localhost/", "localhost\\", " ", "", "localhost, evil.example", "[::1", "0", "0x7f000001",
]  # fmt: skip
OWN_HOSTS = ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8000"]
HALF = LARGEST_BODY // 2 + 1


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
async def test_a_host_that_is_not_ours_is_a_problem(inside: Inside, host: str) -> None:
    assert_problem(await inside.client.get("/health/live", headers={"Host": host}), 400, "JOBS_ALLOWED_HOSTS")


async def test_two_hosts_are_none(inside: Inside) -> None:
    answer = await inside.client.get("/health/live", headers=[("Host", "localhost"), ("Host", "evil.example")])

    assert_problem(answer, 400)


@pytest.mark.parametrize("host", OWN_HOSTS)
async def test_our_own_host_is_answered_whatever_its_port_and_case(inside: Inside, host: str) -> None:
    assert (await inside.client.get("/health/live", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [("a.example.org", 200), ("a.b.example.org", 200), ("example.org", 400), ("badexample.org", 400)],
)
async def test_a_star_stands_for_the_names_below_a_domain(
    make_settings: MakeJobsSettings, host: str, status: int
) -> None:
    async with started(make_settings(allowed_hosts="*.example.org")) as inside:
        assert (await inside.client.get("/health/live", headers={"Host": host})).status_code == status


async def test_a_message_of_a_mebibyte_is_taken(inside: Inside) -> None:
    answer = await inside.client.post(
        "/api/jobs", json={"message": "!" + "x" * (LONGEST_MESSAGE - 1)}, headers=inside.user()
    )

    assert answer.status_code == 202


async def test_a_message_longer_than_that_is_refused(inside: Inside) -> None:
    answer = await inside.client.post("/api/jobs", json={"message": "x" * (LONGEST_MESSAGE + 1)}, headers=inside.user())

    assert_problem(answer, 422, "at most 1048576 characters")


async def test_a_body_that_says_it_is_too_large_is_refused_unread(inside: Inside) -> None:
    async def never() -> AsyncIterator[bytes]:
        pytest.fail("the body was read")
        yield b""

    headers = inside.user() | {"Content-Length": str(LARGEST_BODY + 1)}

    assert_problem(await inside.client.post("/api/jobs", content=never(), headers=headers), 413, "larger than 4 MiB")


async def test_a_body_that_grows_too_large_is_refused_when_it_does(inside: Inside) -> None:
    read = 0

    async def growing() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b"x" * HALF

    assert_problem(await inside.client.post("/api/jobs", content=growing(), headers=inside.user()), 413)
    assert read == 2


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
async def test_no_page_of_another_origin_may_read_an_answer(inside: Inside, origin: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}

    preflight = await inside.client.options("/api/jobs", headers=asked)
    answer = await inside.client.get("/api/jobs", headers=inside.user() | {"Origin": origin})

    assert not [name for name in (*preflight.headers, *answer.headers) if name.startswith("access-control")]


async def test_pages_of_the_origins_that_were_listed_may_read_answers_and_no_others(
    make_settings: MakeJobsSettings,
) -> None:
    async with started(make_settings(allowed_origins="https://friend.example, https://other.example")) as inside:
        for origin, allowed in {"https://friend.example": True, "https://friend.example.evil": False}.items():
            asked = {
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization, idempotency-key",
            }

            preflight = await inside.client.options("/api/jobs", headers=asked)
            answer = await inside.client.get("/api/jobs", headers=inside.user() | {"Origin": origin})

            for headers in (preflight.headers, answer.headers):
                assert headers.get("access-control-allow-origin") == (origin if allowed else None)
                assert "access-control-allow-credentials" not in headers


async def test_a_page_elsewhere_may_use_the_methods_of_each_route(make_settings: MakeJobsSettings) -> None:
    origin = "https://app.example"
    settings = make_settings(allowed_origins=origin)
    app = create_app(settings)
    app.add_api_route("/api/notes/{number}", lambda number: number, methods=["DELETE", "PATCH"])  # a project's own
    async with open_up(settings, app) as inside:
        await inside.startup.wait_ready(5)

        async def preflight(path: str, method: str) -> int:
            asked = {"Origin": origin, "Access-Control-Request-Method": method}
            return (await inside.client.options(path, headers=asked)).status_code

        assert [await preflight("/api/notes/7", method) for method in ("DELETE", "PATCH", "POST")] == [200, 200, 400]
        assert [await preflight("/api/jobs", method) for method in ("GET", "POST", "DELETE")] == [200, 200, 400]
        answer = await inside.client.delete("/api/notes/7", headers={"Origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin


async def test_answers_are_neither_kept_nor_guessed_at(inside: Inside) -> None:
    for path in ("/api/jobs", "/health/ready", "/nowhere", "/metrics"):
        headers = (await inside.client.get(path, headers=inside.user())).headers

        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
