"""compose.yml is the only file that defines services, and it opens nothing that nobody asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from test_framework.environment.env_files import setting_names
from test_framework.services.drivers import service_names
from test_framework.services.port_leases import FIRST, LAST
from test_framework.services.spec import COMPOSE_FILE, not_durable, passed_settings, service_specs
from test_framework.services.state import ServiceName

OVERLAYS = sorted(COMPOSE_FILE.parent.glob("compose.*.yml"))


class Loader(yaml.SafeLoader):
    """Reads compose's own tags as what they stand for."""


Loader.add_constructor("!override", lambda loader, node: None)


def services(file: Path = COMPOSE_FILE) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.load(file.read_text(), Loader)["services"]
    return found


@pytest.mark.parametrize("name", services())
def test_a_service_is_bounded_and_labelled(name: str) -> None:
    service = services()[name]

    assert {"mem_limit", "cpus", "labels"} <= service.keys()
    assert service["restart"] == "no"


@pytest.mark.parametrize("name", service_names())
def test_a_service_that_tests_use_is_small_and_checks_its_health(name: str) -> None:
    service = services()[name]

    assert "healthcheck" in service
    assert service["image"].endswith("-alpine")


@pytest.mark.parametrize("name", services())
def test_a_service_has_no_fixed_name_and_opens_ports_on_loopback_alone(name: str) -> None:
    service = services()[name]

    assert "container_name" not in service
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", service_names())
def test_a_port_is_docker_s_to_choose_unless_it_is_asked_for(name: ServiceName) -> None:
    assert services()[name]["ports"] == [f"127.0.0.1:${{{name.upper()}_PORT:-}}:{service_specs()[name].port}"]


def test_the_app_gets_every_setting_or_has_it_set() -> None:
    environment = services()["app"]["environment"]

    assert sorted(environment) == sorted(setting_names())
    assert set(passed_settings()) >= {
        "APP_ALLOWED_HOSTS",
        "APP_MODEL",
        "APP_MODEL_KEY",
        "APP_MODEL_NAME",
        "APP_MODEL_URL",
    }
    assert environment["APP_ENVIRONMENT"] == "production"


def test_the_grace_period_is_longer_than_the_drain() -> None:
    app = services()["app"]

    assert (
        int(app["stop_grace_period"].removesuffix("s")) >= int(app["environment"]["APP_SHUTDOWN_TIMEOUT_SECONDS"]) + 15
    )


def test_nothing_has_a_default_password() -> None:
    text = COMPOSE_FILE.read_text()

    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        assert f"${{{name}:?" in text
        assert f"${{{name}:-" not in text


def test_only_services_without_a_profile_start_by_themselves() -> None:
    started = {name for name, service in services().items() if not service.get("profiles")}

    assert started == set(service_names())


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda overlay: overlay.name)
def test_an_overlay_sets_values_and_adds_no_service(overlay: Path) -> None:
    assert services(overlay).keys() <= services().keys()
    assert all("image" not in service and "build" not in service for service in services(overlay).values())


def test_providers_without_docker_run_the_same_commands() -> None:
    postgres = service_specs()["postgres"].arguments({"STACK": "mine", **not_durable()})
    redis = service_specs()["redis"].arguments({"REDIS_PASSWORD": "", **not_durable()})

    assert "cluster_name=mine" in postgres
    assert "fsync=off" in postgres
    assert "max_wal_size=48MB" in postgres
    assert "shared_buffers=16MB" in postgres
    assert redis[:2] == ["--requirepass", ""]
    assert redis[redis.index("--appendonly") + 1] == "no"


def test_a_lasting_stack_keeps_what_it_was_told() -> None:
    postgres = service_specs()["postgres"].arguments({"STACK": "mine"})

    assert "fsync=on" in postgres
    assert "max_wal_size=128MB" in postgres
    assert "shared_buffers=32MB" in postgres
    assert "yes" in service_specs()["redis"].arguments({})


def test_the_page_on_ports_says_what_the_code_does() -> None:
    page = (COMPOSE_FILE.parent / "PORTS.md").read_text()

    assert f"{FIRST} to {LAST}" in page
    for spec in service_specs().values():
        assert f"| {spec.name} | {spec.port} | `{spec.name.upper()}_PORT` |" in page
