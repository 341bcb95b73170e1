"""Which provider runs a service, and why: `SERVICES` says so, or it is what is up, what is given, and what this machine can."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from test_framework.services.bundled import bundled
from test_framework.services.external import ExternalProvider
from test_framework.services.provider import Provider
from test_framework.services.stack import Stack
from test_framework.services.state import ProviderUnavailableError, ServiceName, State

ProviderName = Literal["compose", "native", "bundled", "external"]
VARIABLE = "SERVICES"
IN_ORDER: tuple[ProviderName, ...] = ("external", "bundled")
MAKERS: dict[str, Callable[[Stack], Provider]] = {
    "external": lambda stack: ExternalProvider(),
    "bundled": bundled,
}


@dataclass(frozen=True)
class Choice:
    """A provider in a stack, and the reason in a few words; `warm` is up already and not ours to end."""

    stack: Stack
    provider: Provider
    reason: str
    warm: bool = False


def wanted_provider(environment: Mapping[str, str] = os.environ) -> str:
    """Return what SERVICES asks for, or `auto`."""
    wanted = environment.get(VARIABLE, "").strip().lower() or "auto"
    known = ("auto", *get_args(ProviderName))
    if wanted not in known:
        why = f"it is one of {', '.join(known)}"
        raise ProviderUnavailableError(f"{VARIABLE}={wanted} is unknown", why, f"export {VARIABLE}=auto")
    return wanted


def choose(service: ServiceName, stack: Stack, wanted: str) -> Choice:
    """Return the provider that was asked for; on `auto` what is up, then what is given, then what this machine can."""
    if wanted != "auto":
        provider = MAKERS[wanted](stack)
        if lacking := provider.missing(service):
            what = f"{VARIABLE}={wanted} cannot run {service}"
            raise ProviderUnavailableError(what, lacking, f"export {VARIABLE}=auto, or invoke doctor")
        return Choice(stack, provider, f"{VARIABLE}={wanted}")
    if warm := already_up(service, stack):
        return warm
    passed: list[str] = []
    for name in IN_ORDER:
        provider = MAKERS[name](stack)
        lacking = provider.missing(service)
        if lacking is None:
            return Choice(stack, provider, "; ".join(passed) or "preferred")
        passed.append(f"no {name}: {lacking}")
    raise ProviderUnavailableError(f"nothing here can run {service}", "; ".join(passed), "invoke doctor")


def already_up(service: ServiceName, stack: Stack) -> Choice | None:
    """Return the checkout's dev stack where that service runs in it, paused or not."""
    dev = Stack.dev(stack.checkout)
    if not dev.exists:
        return None
    for name in IN_ORDER:
        if name == "external":
            continue
        provider = MAKERS[name](dev)
        if provider.missing(service) is None and provider.observe(service).state in {State.HEALTHY, State.PAUSED}:
            return Choice(dev, provider, "already up", warm=True)
    return None
