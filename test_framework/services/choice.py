"""Which provider runs a service, and why: `SERVICES` says so, or it is what is up, what is given, and what this machine can."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from test_framework.services.bundled import bundled
from test_framework.services.compose import ComposeProvider
from test_framework.services.diagnosis import command_against
from test_framework.services.external import ExternalProvider
from test_framework.services.native import native
from test_framework.services.provider import Provider
from test_framework.services.stack import Stack
from test_framework.services.state import ProviderUnavailableError, ServiceName, State

ProviderName = Literal["external", "compose", "native", "bundled"]
VARIABLE = "SERVICES"
MAKERS: dict[ProviderName, Callable[[Stack], Provider]] = {
    "external": lambda stack: ExternalProvider(),
    "compose": ComposeProvider,
    "native": native,
    "bundled": bundled,
}
WITH_A_STACK: tuple[ProviderName, ...] = ("compose", "native", "bundled")


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


def breakable(wanted: str) -> str:
    """Return the provider for services that a test is going to break: what was given is never broken."""
    return "auto" if wanted == "external" else wanted


def candidates(service: ServiceName, stack: Stack, wanted: str, *, own: bool = False) -> Iterator[Choice]:
    """Yield what can run a service here, best first; whoever asks for the next one found that this one could not.

    That is the provider asked for; on `auto` it is what is up, then what is given, then compose, native and bundled.
    Whoever asks for servers of its `own` is given no others, since it is going to break them.
    """
    if wanted != "auto":
        yield asked_for(service, stack, wanted)
        return
    if not own and (warm := already_up(service, stack)):
        yield warm
    passed: list[str] = []
    for name, make in MAKERS.items():
        if own and name == "external":
            continue
        provider = make(stack)
        lacking = provider.missing(service)
        if lacking is None:
            yield Choice(stack, provider, "; ".join(passed) or "preferred")
            lacking = "it could not start it"
        passed.append(f"no {name}: {lacking}")
    raise ProviderUnavailableError(f"nothing here can run {service}", "; ".join(passed), "invoke doctor")


def asked_for(service: ServiceName, stack: Stack, wanted: str) -> Choice:
    provider = ComposeProvider(stack, pull=True) if wanted == "compose" else maker(wanted)(stack)
    if lacking := provider.missing(service):
        given = wanted_provider() == wanted
        what = f"{VARIABLE}={wanted} cannot run {service}" if given else f"{wanted} cannot run {service}"
        otherwise = f"export {VARIABLE}=auto, or invoke doctor" if given else "invoke doctor"
        raise ProviderUnavailableError(what, lacking, command_against(lacking, otherwise))
    return Choice(stack, provider, f"{VARIABLE}={wanted}")


def maker(name: str) -> Callable[[Stack], Provider]:
    return next(make for known, make in MAKERS.items() if known == name)


def already_up(service: ServiceName, stack: Stack) -> Choice | None:
    """Return the checkout's dev stack where that service runs in it, paused or not."""
    dev = Stack.dev(stack.checkout)
    for name in WITH_A_STACK if dev.exists else ():
        provider = MAKERS[name](dev)
        if provider.observe(service).state in {State.HEALTHY, State.PAUSED}:
            return Choice(dev, provider, "already up", warm=True)
    return None
