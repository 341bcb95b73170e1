"""Real services for this checkout, and replicas of the application: started, healed and stopped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from json import dumps

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from test_framework.services.board import Board
from test_framework.services.containers import APP_SERVICES
from test_framework.services.dev import DevStack, Status
from test_framework.services.diagnosis import command_against
from test_framework.services.drivers import service_names
from test_framework.services.replicas import Replicas
from test_framework.services.state import EngineDownError, ServiceError, ServiceName, State

ONLY = {"only": "one of the services that `services.status` lists; all without it"}
ANY = {"only": f"one of those services, or of {' and '.join(APP_SERVICES)}; all without it"}


@task(help={**ONLY, "wait": "how many seconds each may take"})
def up(context: Context, only: str = "", wait: float = 30.0) -> None:
    """Bring services up, whatever state they are in; what is up stays, and replicas that `services.app` made are healed."""
    with plainly_told(), Board() as board:
        found = DevStack(report=board.report).up(chosen(only), float(wait))
        replicas = Replicas()
        if not only and replicas.status():
            replicas.heal()
    for one in found:
        print(f"{one.service}: {one.provider}, {one.detail}", file=sys.stderr)
    show([*found, *([] if only else replicas.status())])


@task
def down(context: Context) -> None:
    """Stop and remove this checkout's services and the replicas of `services.app`; data stays."""
    with plainly_told():
        ended = DevStack().down()
    print("\n".join(f"{line}: ended" for line in ended) or "nothing was up")


@task(help={**ANY, "json": "for programs"})
def status(context: Context, only: str = "", json: bool = False) -> None:
    """Show each service's state, its provider and its address (`url` shows the password too)."""
    with plainly_told():
        parts = Replicas().status(only)
        if only in APP_SERVICES and not parts:
            raise Exit(f"{only} is not there; run: invoke services.app", 1)
        found = [*DevStack().status(() if only in APP_SERVICES else chosen(only)), *parts]
    if json:
        print(dumps([one.as_dict() for one in found], indent=2))
    else:
        show(found)


@task(help={**ANY, "lines": "how many of the last lines"})
def logs(context: Context, only: str = "", lines: int = 40) -> None:
    """Show what services wrote last, and the replicas of `services.app` if they are there."""
    with plainly_told():
        written = Replicas().logs(lines, only)
        if only in APP_SERVICES and not written:
            raise Exit(f"{only} is not there; run: invoke services.app", 1)
        for service in () if only in APP_SERVICES else chosen(only):
            print(f"--- {service}\n{DevStack().logs(service, lines)}")
        for name, text in written.items():
            print(f"--- {name}\n{text}")


@task(help=ONLY)
def pause(context: Context, only: str = "") -> None:
    """Freeze services: they keep their connections and answer none."""
    with plainly_told():
        show(DevStack().each(chosen(only), lambda lifecycle, service: lifecycle.pause(service)))


@task(help=ONLY)
def unpause(context: Context, only: str = "") -> None:
    """Let frozen services go on."""
    with plainly_told():
        show(DevStack().each(chosen(only), lambda lifecycle, service: lifecycle.unpause(service)))


@task(help=ONLY)
def restart(context: Context, only: str = "") -> None:
    """Stop services and start them again; data stays."""
    with plainly_told(), Board() as board:
        show(DevStack(report=board.report).each(chosen(only), lambda lifecycle, service: lifecycle.restart(service)))


@task(help=ONLY)
def reset(context: Context, only: str = "") -> None:
    """Bring services up without the data that they had."""
    with plainly_told(), Board() as board:
        show(DevStack(report=board.report).reset(chosen(only)))


@task(help=ONLY)
def url(context: Context, only: str = "") -> None:
    """Print where services are, for a client."""
    with plainly_told():
        for found in DevStack().status(chosen(only)):
            if not found.url:
                raise Exit(f"{found.service} is {found.state}; run: invoke services.up", 1)
            print(found.url)


@task(help={"down": "stop and remove them; Postgres and Redis stay"})
def app(context: Context, down: bool = False) -> None:
    """Run the image of the service itself: two replicas behind a proxy, on Postgres and Redis in containers."""
    with plainly_told():
        if down:
            Replicas().down()
            print("the replicas and their proxy are removed")
        else:
            print(f"two replicas behind {Replicas().up()}")


def chosen(only: str) -> tuple[ServiceName, ...]:
    found = tuple(name for name in service_names() if only in ("", name))
    if not found:
        raise Exit(f"there is no service {only!r}; choose one of {', '.join(service_names())}", 1)
    return found


def show(statuses: list[Status]) -> None:
    for found in statuses:
        words = (found.service.ljust(9), found.state.ljust(9), found.provider.ljust(8), found.identity, found.shown_url)
        print("  ".join(word for word in words if word).rstrip())
    for why in {found.detail for found in statuses if found.state == State.ABSENT.value and found.detail}:
        print(why)


@contextmanager
def plainly_told() -> Iterator[None]:
    """Tell what went wrong in a sentence and the next command, not in a traceback."""
    try:
        yield
    except ServiceError as reason:
        raise Exit(str(reason), 1) from None
    except EngineDownError as reason:
        raise Exit(f"{reason}\n  next: {command_against(str(reason), 'invoke doctor')}", 1) from None
