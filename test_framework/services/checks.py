"""What `invoke doctor` looks at to know whether this machine can run services."""

from __future__ import annotations

import shutil

from test_framework.environment.checkup import Check, CheckResult, bad, good, note
from test_framework.services import bundled, engine, native
from test_framework.services.choice import candidates, wanted_provider
from test_framework.services.compose import ComposeProvider
from test_framework.services.diagnosis import command_against
from test_framework.services.drivers import service_names
from test_framework.services.port_leases import leased
from test_framework.services.spec import service_specs
from test_framework.services.stack import ROOM_NEEDED, Stack, runtime_root
from test_framework.services.state import EngineDownError, ServiceError, State


def container_engine() -> CheckResult:
    """Look whether an engine answers, and which."""
    try:
        version = engine.look("/version")["Version"]
    except EngineDownError as reason:
        start = " ".join(engine.start_commands()[0])
        return note(f"{reason}; services run without it", command_against(str(reason), start))
    return good(f"version {version}")


def compose() -> CheckResult:
    """Look whether compose is here."""
    try:
        return good(" ".join(engine.compose_command()))
    except EngineDownError as reason:
        return note(f"{reason}; services run without it", "see https://docs.docker.com/compose/install")


def images() -> CheckResult:
    """Look whether the services' images are here."""
    try:
        images = [spec.image for spec in service_specs().values() if spec.image]
        missing = [image for image in images if engine.look(f"/images/{image}/json") is None]
    except EngineDownError:
        return note("no engine to hold them")
    return note(f"{', '.join(missing)} not here", f"docker pull {missing[0]}") if missing else good("all here")


def servers() -> CheckResult:
    """Look which servers can be run without containers."""
    names = service_names()
    bundled_ones = [name for name in names if not isinstance(bundled.find(name), str)]
    native_ones = [name for name in names if not isinstance(native.find(name), str)]
    seen = f"bundled: {', '.join(bundled_ones) or 'none'}; on PATH: {', '.join(native_ones) or 'none'}"
    return good(seen) if len(bundled_ones) == len(names) else note(seen, "nox -s setup")


def services() -> CheckResult:
    """Look whether something here can run each service, and what."""
    try:
        found = [(name, next(candidates(name, Stack.of_a_run(), wanted_provider()))) for name in service_names()]
    except ServiceError as reason:
        return bad(f"{reason.what}: {reason.why}", reason.next_command)
    return good("; ".join(f"{name}: {choice.provider.name} ({choice.reason})" for name, choice in found))


def room_for_data() -> CheckResult:
    """Look whether there is room where runs keep their data."""
    root = runtime_root()
    free = shutil.disk_usage(root).free
    if free < ROOM_NEEDED:
        return bad(f"only {free >> 20} MiB free in {root}, {ROOM_NEEDED >> 20} wanted", "invoke clean.run")
    return good(f"{free >> 20} MiB free in {root}")


def port_leases() -> CheckResult:
    """Look which ports are leased."""
    count = len(leased())
    return good(f"{count} leased" if count else "none leased")


def dev_stack() -> CheckResult:
    """Look whether something of this checkout's dev stack is broken that its next command would heal."""
    try:
        engine.look("/version")
    except EngineDownError:
        return note("no engine to ask")
    provider = ComposeProvider(Stack.dev())
    for name, twins in provider.twin_networks().items():
        return bad(f"{len(twins)} networks are named {name}", "invoke services.up")
    parts = provider.parts()
    for part in parts:
        if part.state not in {State.HEALTHY, State.STARTING}:
            return bad(f"{part.name} is {part.state.value}", "invoke services.app")
    return good(", ".join(f"{part.name} is {part.state.value}" for part in parts) or "nothing of it is broken")


SERVICE_CHECKS = [
    Check("engine", container_engine),
    Check("compose", compose),
    Check("images", images),
    Check("servers", servers),
    Check("services", services),
    Check("dev stack", dev_stack),
    Check("data", room_for_data),
    Check("port leases", port_leases),
]
