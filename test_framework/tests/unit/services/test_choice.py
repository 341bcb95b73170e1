"""SERVICES decides; otherwise what is up, what is given, and what this machine can, in that order, with the reason."""

from __future__ import annotations

import pytest

from test_framework.running.machine import small_disk_lacking
from test_framework.services import choice, diagnosis, small_disk
from test_framework.services.bundled import bundled
from test_framework.services.choice import candidates, wanted_provider
from test_framework.services.external import ExternalProvider
from test_framework.services.stack import Stack
from test_framework.services.state import ProviderUnavailableError, ServiceError, ServiceName
from test_framework.tests.unit.services.machine import Machine


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> dict[str, Machine]:
    found: dict[str, Machine] = {name: Machine() for name in choice.MAKERS}
    monkeypatch.setattr(choice, "MAKERS", {name: lambda stack, name=name: found[name] for name in found})
    monkeypatch.setattr(choice, "already_up", lambda service, stack: None)
    return found


def names_of(machines: dict[str, Machine]) -> list[str]:
    known = {id(machine): name for name, machine in machines.items()}
    found: list[str] = []
    try:
        for one in candidates("redis", Stack.of_a_run("unit"), "auto"):
            found.append(known[id(one.provider)])
    except ProviderUnavailableError:
        found.append("nothing")
    return found


def test_the_order_is_external_compose_native_bundled(machines: dict[str, Machine]) -> None:
    assert names_of(machines) == ["external", "compose", "native", "bundled", "nothing"]


def test_the_reason_names_what_was_passed_over_and_why(machines: dict[str, Machine]) -> None:
    machines["external"].lacks = "REDIS_URL is not set"
    machines["compose"].lacks = "the engine does not answer"

    found = next(candidates("redis", Stack.of_a_run("unit"), "auto"))

    assert found.provider is machines["native"]
    assert found.reason == "no external: REDIS_URL is not set; no compose: the engine does not answer"


def test_a_machine_that_can_do_nothing_is_told_why(machines: dict[str, Machine]) -> None:
    for machine in machines.values():
        machine.lacks = "missing"

    with pytest.raises(ProviderUnavailableError, match=r"nothing here can run redis: .*no bundled: missing\n  next: "):
        next(candidates("redis", Stack.of_a_run("unit"), "auto"))


def test_what_was_asked_for_and_is_missing_is_an_error_and_not_another_provider(
    machines: dict[str, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICES", "native")
    machines["native"].lacks = "redis-server is not on PATH"

    with pytest.raises(ProviderUnavailableError, match="SERVICES=native cannot run redis: redis-server is not on PATH"):
        next(candidates("redis", Stack.of_a_run("unit"), "native"))


@pytest.mark.parametrize(
    ("given", "lacking", "said"),
    [
        ("", "gone", "native cannot run redis: gone\n  next: invoke doctor"),
        ("native", "gone", "SERVICES=native cannot run redis: gone\n  next: export SERVICES=auto, or invoke doctor"),
        (
            "",
            "this user may not use the engine",
            "native cannot run redis: this user may not use the engine\n"
            "  next: sudo usermod -aG docker $USER, and log in again",
        ),
    ],
)
def test_the_next_command_fits_what_is_lacking(
    machines: dict[str, Machine], monkeypatch: pytest.MonkeyPatch, given: str, lacking: str, said: str
) -> None:
    monkeypatch.setenv("SERVICES", given)
    machines["native"].lacks = lacking

    with pytest.raises(ProviderUnavailableError) as refused:
        next(candidates("redis", Stack.of_a_run("unit"), "native"))

    assert str(refused.value) == said


@pytest.mark.parametrize(("given", "expected"), [("", "auto"), (" Bundled ", "bundled"), ("external", "external")])
def test_the_wish_is_read_from_the_environment(given: str, expected: str) -> None:
    assert wanted_provider({"SERVICES": given}) == expected


def test_a_misspelt_wish_is_refused() -> None:
    with pytest.raises(ProviderUnavailableError, match="SERVICES=podman is unknown: it is one of auto, external"):
        wanted_provider({"SERVICES": "podman"})


@pytest.mark.parametrize(
    ("service", "url", "lacking"),
    [
        ("postgres", "postgresql+asyncpg://u:p@db/app", None),
        ("postgres", "sqlite+aiosqlite:///app.db", "DATABASE_URL names no postgres"),
        ("postgres", "", "DATABASE_URL is not set"),
        ("redis", "rediss://cache:6380/0", None),
        ("redis", "http://cache", "REDIS_URL names no redis"),
    ],
)
def test_an_external_service_is_one_whose_url_is_given(service: ServiceName, url: str, lacking: str | None) -> None:
    variable = {"postgres": "DATABASE_URL", "redis": "REDIS_URL"}[service]

    assert ExternalProvider({variable: url}).missing(service) == lacking


def test_an_external_url_is_given_the_driver_that_the_service_uses() -> None:
    provider = ExternalProvider({"DATABASE_URL": "postgres://u:p@db/app"})

    assert provider.url("postgres") == "postgresql+asyncpg://u:p@db/app"
    assert provider.identity("postgres") == "db"


@pytest.mark.parametrize("step", ["start", "pause", "unpause", "stop", "kill"])
def test_an_external_service_is_never_touched(step: str) -> None:
    provider = ExternalProvider({"REDIS_URL": "redis://cache"})

    with pytest.raises(ServiceError, match=f"cannot {step} redis: REDIS_URL points to a server that is not ours"):
        getattr(provider, step)("redis")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("Bind for 127.0.0.1:5432 failed: port is already allocated", "port is taken"),
        ("Error response from daemon: No such image: redis:8-alpine", "image is not here"),
        ("FATAL: could not write lock file: No space left on device", "disk is full"),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock", "does not answer"),
        ("The data directory was initialized by PostgreSQL version 16", "another version"),
        ('Conflict. The container name "/x" is already in use by container "y"', "somebody else has its name"),
    ],
)
def test_a_failure_that_is_known_is_explained(said: str, why: str) -> None:
    found = diagnosis.diagnose(said, "redis", "redis:8-alpine")

    assert found is not None
    assert why in found.why
    assert "{" not in found.next_command


def test_a_failure_that_is_unknown_is_left_as_it_is() -> None:
    assert diagnosis.diagnose("the moon is full", "redis") is None


@pytest.mark.parametrize(
    ("wanted", "compose_lacks", "lacking"),
    [
        ("auto", None, None),
        ("external", None, None),
        ("compose", None, None),
        ("auto", "the engine does not answer", "only root may"),
        ("bundled", None, "only root may"),
    ],
)
def test_a_small_disk_is_asked_of_the_provider_that_is_chosen(
    machines: dict[str, Machine],
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    compose_lacks: str | None,
    lacking: str | None,
) -> None:
    def make_compose(stack: Stack, *, pull: bool = False) -> Machine:
        return machines["compose"]

    machines["compose"].lacks = compose_lacks
    monkeypatch.setattr(choice, "MAKERS", {"compose": make_compose, "bundled": bundled})
    monkeypatch.setattr(choice, "ComposeProvider", make_compose)
    monkeypatch.setattr(small_disk, "obstacle", lambda: "only root may")
    monkeypatch.setenv("SERVICES", wanted)

    said = small_disk_lacking()

    assert (said is None) == (lacking is None), said
    assert lacking is None or lacking in str(said)
