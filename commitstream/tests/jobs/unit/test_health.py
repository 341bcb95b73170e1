"""What each endpoint of health must answer while something is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from commitstream.db.database import Database
from commitstream.lifecycle.plan import Phase
from commitstream.lifecycle.startup import StartupError
from commitstream.service import health
from commitstream.tests.jobs.application import JobsSettings, create_app
from commitstream.tests.jobs.conftest import MakeJobsSettings
from commitstream.tests.jobs.inside import Inside, assert_problem, eventually, open_up, started

DEADLINE_SECONDS = 2.0


class Ping:
    """The question that a database is asked, put into words by a test."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: Callable[[], Awaitable[object]] = self.well
        self.over = asyncio.Event()

    async def __call__(self) -> None:
        self.asked += 1
        await self.answer()

    async def well(self) -> None:
        return None

    async def refused(self) -> None:
        raise ConnectionRefusedError(111, "postgresql://ada:secret@db refuses")

    async def never(self) -> None:
        await self.over.wait()


@pytest.fixture
def ping(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ping]:
    """A database that fails when it is told to."""
    injected = Ping()

    async def asked(database: Database) -> None:
        await injected()

    monkeypatch.setattr(Database, "ping", asked)
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(health, "REMEMBERED_SECONDS", 0.1)
    yield injected
    injected.over.set()


async def probe(inside: Inside, path: str) -> tuple[int, str]:
    """The status and the word of one endpoint, within its deadline."""
    answer = await asyncio.wait_for(inside.client.get(f"/health/{path}"), DEADLINE_SECONDS)
    body = answer.json()
    return answer.status_code, body.get("status") or body["state"]


async def probes(inside: Inside) -> dict[str, tuple[int, str]]:
    return {path: await probe(inside, path) for path in ("live", "ready", "startup")}


@asynccontextmanager
async def starting_with(
    settings: JobsSettings, start: Callable[[], Awaitable[object]], *, optional: bool = False
) -> AsyncIterator[Inside]:
    app = create_app(settings)
    app.state.startup.add("engine room", phase=Phase.DOMAINS, start=start, optional=optional)
    async with open_up(settings, app) as inside:
        yield inside


async def broken() -> None:
    raise RuntimeError("the engine is broken")


async def test_a_service_that_can_serve_says_so(settings: JobsSettings, ping: Ping) -> None:
    async with started(settings) as inside:
        assert await probes(inside) == {"live": (200, "live"), "ready": (200, "ready"), "startup": (200, "ready")}


async def test_a_database_that_refuses_means_not_ready_but_alive(settings: JobsSettings, ping: Ping) -> None:
    async with started(settings) as inside:
        ping.answer = ping.refused

        assert await probes(inside) == {"live": (200, "live"), "ready": (503, "failed"), "startup": (200, "ready")}


async def test_a_database_that_never_answers_means_not_ready_within_the_deadline(
    settings: JobsSettings, ping: Ping
) -> None:
    async with started(settings) as inside:
        ping.answer = ping.never

        assert await probe(inside, "ready") == (503, "failed")
        details = (await inside.client.get("/health/ready")).json()["checks"]["database"]["detail"]
        assert details.startswith("has not answered for 0.")


async def test_a_database_that_comes_back_is_noticed(settings: JobsSettings, ping: Ping) -> None:
    async with started(settings) as inside:
        ping.answer = ping.refused
        assert (await probe(inside, "ready"))[0] == 503

        ping.answer = ping.well
        await eventually(lambda: probe(inside, "ready"), lambda found: found == (200, "ready"))


async def test_a_bus_that_is_away_degrades_a_service_that_still_serves(
    settings: JobsSettings, ping: Ping, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(settings) as inside:
        monkeypatch.setattr(inside.engine.bus, "healthy", False)

        assert await probes(inside) == {"live": (200, "live"), "ready": (200, "degraded"), "startup": (200, "ready")}
        assert (await inside.client.get("/api/jobs", headers=inside.user())).status_code == 200


async def test_a_bus_that_is_away_excuses_no_database_that_is(
    settings: JobsSettings, ping: Ping, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(settings) as inside:
        monkeypatch.setattr(inside.engine.bus, "healthy", False)
        ping.answer = ping.refused

        assert await probe(inside, "ready") == (503, "failed")


async def test_a_service_that_does_without_something_is_ready_and_degraded(settings: JobsSettings, ping: Ping) -> None:
    async with starting_with(settings, broken, optional=True) as inside:
        await inside.startup.wait_ready(DEADLINE_SECONDS)

        assert await probes(inside) == {
            "live": (200, "live"),
            "ready": (200, "degraded"),
            "startup": (200, "degraded"),
        }


async def test_a_service_that_starts_is_alive_and_not_ready(settings: JobsSettings, ping: Ping) -> None:
    async with starting_with(settings, ping.never) as inside:
        await eventually(lambda: probe(inside, "startup"), lambda said: said == (503, "starting"))

        assert await probes(inside) == {
            "live": (200, "live"),
            "ready": (503, "starting"),
            "startup": (503, "starting"),
        }


async def test_the_phases_of_a_start_are_told_while_it_lasts(settings: JobsSettings, ping: Ping) -> None:
    async with starting_with(settings, ping.never) as inside:
        answer = await eventually(
            lambda: inside.client.get("/health/startup"), lambda answer: answer.json()["phase"] == Phase.DOMAINS
        )

        states = {phase["name"]: phase["state"] for phase in answer.json()["phases"]}
        assert states[Phase.BUS] == "ready"
        assert states[Phase.DOMAINS] == "starting"
        assert states[Phase.SOCKETS] == "pending"


async def test_a_start_that_failed_says_why_and_stays_not_ready(settings: JobsSettings, ping: Ping) -> None:
    async with starting_with(settings, broken) as inside:
        with pytest.raises(StartupError):
            await inside.startup.wait_ready(DEADLINE_SECONDS)

        assert await probes(inside) == {"live": (200, "live"), "ready": (503, "failed"), "startup": (503, "failed")}
        report = (await inside.client.get("/health/startup")).json()
        assert "engine room did not start (phase domains): RuntimeError: the engine is broken" in report["error"]
        assert_problem(await inside.client.get("/api/jobs", headers=inside.user()), 503)


async def refused() -> None:
    raise ConnectionError("postgresql://somebody:hunter2@10.0.0.5:5432/secrets said no")


async def test_outside_dev_a_start_that_failed_says_what_and_not_where(
    make_settings: MakeJobsSettings, ping: Ping
) -> None:
    settings = make_settings(environment="production")
    async with starting_with(settings, refused) as inside:
        with pytest.raises(StartupError):
            await inside.startup.wait_ready(DEADLINE_SECONDS)

        answer = await inside.client.get("/health/startup")

    assert answer.json()["error"] == "engine room did not start (phase domains): the log says more"
    assert "ConnectionError: the log says more" in answer.text
    for secret in ("hunter2", "somebody", "10.0.0.5", "secrets"):
        assert secret not in answer.text


async def test_a_service_that_drains_is_alive_and_not_ready(settings: JobsSettings, ping: Ping) -> None:
    async with started(settings) as inside:
        await inside.engine.drain()

        assert await probes(inside) == {"live": (200, "live"), "ready": (503, "draining"), "startup": (200, "ready")}
        assert_problem(await inside.client.post("/api/jobs", json={"message": "too late"}, headers=inside.user()), 503)
        assert_problem(await inside.client.get("/api/events", headers=inside.user()), 503, "reconnect")


async def test_a_storm_of_probes_is_one_question_to_the_database(
    settings: JobsSettings, ping: Ping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "REMEMBERED_SECONDS", DEADLINE_SECONDS)
    async with started(settings) as inside:
        before = ping.asked

        answers = await asyncio.gather(*(probe(inside, "ready") for _ in range(100)))

        assert set(answers) == {(200, "ready")}
        assert ping.asked - before == 1


async def test_a_database_that_never_answers_is_asked_once_however_long_it_takes(
    settings: JobsSettings, ping: Ping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "REMEMBERED_SECONDS", 0.0)
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.01)
    async with started(settings) as inside:
        ping.answer = ping.never
        before = ping.asked

        answers = [await probe(inside, "ready") for _ in range(5)]

        assert set(answers) == {(503, "failed")}
        assert ping.asked - before == 1


async def test_what_is_wrong_with_a_database_is_told_without_its_address(settings: JobsSettings, ping: Ping) -> None:
    async with started(settings) as inside:
        ping.answer = ping.refused

        told = (await inside.client.get("/health/ready")).text

        assert "ConnectionRefusedError" in told
        assert "secret" not in told
        assert "postgresql" not in told


@pytest.mark.parametrize("path", ["/api/jobs", "/api/events", "/docs", "/files/client.py", "/nowhere"])
async def test_before_it_is_ready_everything_else_is_answered_503(
    settings: JobsSettings, ping: Ping, path: str
) -> None:
    async with starting_with(settings, ping.never) as inside:
        answer = await inside.client.get(path)

        assert_problem(answer, 503, "the service is starting")
        assert answer.headers["retry-after"] == "1"
