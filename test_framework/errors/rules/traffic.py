"""The start-up's order, sockets and events, servers, routes, and time-outs."""

from __future__ import annotations

import re
from itertools import dropwhile

from test_framework.errors.categories import REPRODUCE, Category, Responsibility, category_of
from test_framework.errors.evidence import Evidence, RuleFinding, shortened
from test_framework.services.drivers import drivers

MISSING = (
    r"[^\n]{1,200} did not come(?: within|; )|no [a-z][a-z0-9_]* of \S+ within [\d.]+ s; what came|the stream is broken"
    r"|other (?:events|counts) than expected|not ended: [^\n]+ is missing|no event about \S+ came"
    r"|the server's hello was awaited|had to begin with a hello"
    r"|events are not \S+'s:|two sockets were shown different events|the relay was not idle"
)
KIT = "test_framework."
SOCKETS = (
    "websockets.exceptions.", "starlette.websockets.WebSocketDisconnect", "uvicorn.protocols.utils.ClientDisconnected",
    f"{KIT}websocket.line.SocketClosed", f"{KIT}websocket.line.NoServer",
)  # fmt: skip
CLIENT_CODES = range(4400, 4500)
STATUS = re.compile(
    r"(?:assert|expected [\d or]+, got) (\d{3})\b(?: (?:==|!=|in) (\d{3}))?|'(\d{3}) (?:Not Found|Method Not Allowed)|Client error '(\d{3})|Server error '(\d{3})"
)
ROUTED = {404, 405, 422, 400, 415, 406}
TIMED_OUT = (
    "TimeoutError", "subprocess.TimeoutExpired", "filelock._error.Timeout", "commitstream.lifecycle.attempt.OutOfTimeError",
    "httpx.TimeoutException", "concurrent.futures._base.TimeoutError", "queue.Empty",
)  # fmt: skip


def startup_plan(seen: Evidence) -> RuleFinding | None:
    link = seen.link("commitstream.lifecycle.plan.StartupPlanError")
    if link is None:
        return None
    fault = plan_owner(seen)
    return RuleFinding(
        Category.STARTUP_ORDER,
        fault,
        f"the plan of the start can't be kept: {seen.said(link)}",
        0.95,
        f"plan {seen.said(link)}",
        REPRODUCE,
    )


def plan_owner(seen: Evidence) -> Responsibility:
    """Whose plan it is: the test's own, unless it went through what the app plans for itself."""
    places = [
        frame
        for frame in seen.frames
        if frame.owner in {"app", "test", "kit"} and not frame.file.startswith("commitstream/lifecycle/")
    ]
    called = dropwhile(lambda frame: frame.owner != "test", places)  # the kit's plugin runs the test itself
    planned = any(frame.owner != "test" for frame in called)
    via_app = (
        planned
        or seen.failure.phase != "call"
        or (seen.failure.subject == "app" and "create_app(" in seen.failure.expression)
    )
    return Responsibility.CODE if via_app else Responsibility.TEST


def startup_component(seen: Evidence) -> RuleFinding | None:
    link = seen.link("commitstream.lifecycle.startup.StartupError")
    waiting = seen.says(r"not ready within [\d.]+ s: ([^\n]*)")
    if link is None and waiting is None:
        return None
    if waiting:
        return RuleFinding(
            Category.STARTUP_ORDER,
            Responsibility.CODE,
            f"the service is not ready: {shortened(waiting.group(1))}",
            0.85,
            f"start {waiting.group(1)[:40]}",
        )
    component, phase = (link.fact("component"), link.fact("phase")) if link else ("", "")
    cause = f"{component} did not start in phase {phase}: {seen.said(link)}"
    return RuleFinding(Category.STARTUP_ORDER, Responsibility.CODE, cause, 0.88, f"start {component}")


def server_process(seen: Evidence) -> RuleFinding | None:
    """The service as a process of its own, which ended too early or not at all."""
    match = seen.says(
        r"the server did not (start|end) within|everything had been cleaned up|TooLateError|comes too late, everything was cleaned up"
    )
    if match is None:
        return None
    said = shortened(seen.links[0].message if seen.links else seen.failure.text)
    last = next(
        (
            line.strip()
            for line in reversed(seen.text.splitlines())
            if re.match(r"\s*\w*(?:Error|Exception|Exit)\b", line)
        ),
        "",
    )
    return RuleFinding(
        Category.SERVICE,
        Responsibility.CODE,
        f"{said}{f' {shortened(last)}' if last else ''}",
        0.85,
        f"server {match.group()}",
        "python -m app",
    )


def event(seen: Evidence) -> RuleFinding | None:
    """An event that is missing, doubled or out of order; or the grammar that says so."""
    grammar = seen.link("commitstream.topics.OrderError")
    match = seen.says(MISSING)
    if grammar is None and match is None:
        return None
    said = seen.said(grammar or seen.raised)
    if dead := dead_service(seen):
        return RuleFinding(dead.category, Responsibility.INFRASTRUCTURE, f"{dead.root_cause}, so {said}", 0.8, dead.key)
    return RuleFinding(
        Category.WEBSOCKET,
        Responsibility.CODE,
        f"the events are not as they should be: {said}",
        0.85,
        f"event {(match.group() if match else said)[:40]}",
    )


def websocket(seen: Evidence) -> RuleFinding | None:
    link = seen.link(*SOCKETS)
    refused = seen.link("ConnectionError", "TimeoutError") if seen.through("websockets/") else None
    if link is None and refused is None:
        return None
    if link is None:
        cause = f"no socket could be opened at {seen.place('test', 'app')}: {seen.said(refused)}"
        return RuleFinding(Category.WEBSOCKET, seen.blamed, cause, 0.75, f"socket {seen.place('test', 'app')}")
    code, status = link.fact("code"), link.fact("status_code")
    code = (
        code if isinstance(code, int) else next((int(found) for found in re.findall(r"\b(\d{4}) \(", link.message)), 0)
    )
    if dead := dead_service(seen):
        return RuleFinding(
            dead.category,
            Responsibility.INFRASTRUCTURE,
            f"{dead.root_cause}, so the socket was closed with {code or status}",
            0.8,
            dead.key,
        )
    by_client = (
        code in CLIENT_CODES or code in {1002, 1003, 1007, 1009} or (isinstance(status, int) and 400 <= status < 500)
    )
    cause = f"the socket was {'refused' if status else 'closed'} with {status or code or 'no code'}: {seen.said(link)}"
    fault = (
        (Responsibility.TEST if seen.blamed is Responsibility.TEST else seen.blamed)
        if by_client
        else Responsibility.CODE
    )
    return RuleFinding(Category.WEBSOCKET, fault, cause, 0.8, f"socket {code or status}")


def routing(seen: Evidence) -> RuleFinding | None:
    """A route that is not there or refuses its input, a dependency that was replaced or can't be given."""
    if seen.failure.overrides:
        cause = f"a dependency is still replaced: {', '.join(seen.failure.overrides)}"
        return RuleFinding(
            Category.ROUTING, Responsibility.TEST, cause, 0.75, f"override {seen.failure.overrides[0]}", REPRODUCE
        )
    link = seen.link(
        "starlette.routing.NoMatchFound", "fastapi.exceptions.FastAPIError", "fastapi.exceptions.DependencyScopeError"
    )
    if link is not None:
        fault = Responsibility.CODE if seen.blamed is Responsibility.CODE or not seen.place("test") else seen.blamed
        return RuleFinding(
            Category.ROUTING,
            fault,
            f"a route can't be made or found: {seen.said(link)}",
            0.88,
            f"route {seen.said(link)[:50]}",
        )
    status = status_of(seen)
    if status not in ROUTED:
        return None
    typed = any(frame.owner == "kit" for frame in seen.frames) and status != 422
    said = seen.said(seen.links[0])
    fault = Responsibility.CODE if typed and status in {404, 405} else Responsibility.TEST
    return RuleFinding(
        Category.ROUTING,
        fault,
        f"the app answers {status} at {seen.place('test')}: {said}",
        0.75,
        f"status {status} {seen.place('test')}",
        REPRODUCE,
    )


def status_of(seen: Evidence) -> int:
    """The status that came where another was expected; 0 where that is not what failed."""
    found = next((link.fact("status_code") for link in seen.links if link.types[0].startswith("httpx.")), None)
    if isinstance(found, int):
        return found
    if not seen.says(r"status_code|UnexpectedAnswer|Response \[|Client error|Server error"):
        return 0
    match = STATUS.search(seen.text)
    return int(next(group for group in match.groups() if group)) if match else 0


def server_error(seen: Evidence) -> RuleFinding | None:
    """The service answers that it failed, or that something of it is away."""
    status = status_of(seen)
    if status < 500:
        return None
    if dead := dead_service(seen):
        return RuleFinding(
            dead.category,
            Responsibility.INFRASTRUCTURE,
            f"{dead.root_cause}, so the service answers {status}",
            0.85,
            dead.key,
        )
    return RuleFinding(
        Category.ASSERTION,
        Responsibility.CODE,
        f"the service answers {status} at {seen.place('test')}: its log says why",
        0.8,
        f"status {status}",
        REPRODUCE,
    )


def nobody_listens(seen: Evidence) -> RuleFinding | None:
    """An HTTP client that meets no server where ours should be."""
    link = seen.link(
        f"{KIT}websocket.http_errors.NoAnswer",
        "httpx.ConnectError",
        "httpx.RemoteProtocolError",
        "httpx.ReadError",
        "ConnectionRefusedError",
        "ConnectionResetError",
    )
    if link is None:
        return None
    cause = f"nobody listens where {seen.place('test', 'app')} connects to: {seen.said(link)}"
    return RuleFinding(
        Category.SERVICE, Responsibility.INFRASTRUCTURE, cause, 0.72, "server gone", "invoke services.status"
    )


def time_out(seen: Evidence) -> RuleFinding | None:
    """Whose time-out it is: a service's that was not well, or that of the line where somebody waited."""
    link = seen.link(*TIMED_OUT)
    text = seen.says(
        r"no answer came within the deadline|Timeout \(?>?\s*[\d.]+s?\)? (?:from|method)|Timeout >[\d.]+s|was awaited for [\d.]+ s in vain|did not come within|took longer than|did not finish within|timed out"
    )
    if link is None and text is None:
        return None
    if dead := dead_service(seen):
        return RuleFinding(
            dead.category, Responsibility.INFRASTRUCTURE, f"{dead.root_cause}, so {seen.said()}", 0.85, dead.key
        )
    waited = next((frame for frame in reversed(seen.failure.waiting) if frame.owner in {"test", "app"}), None)
    place = waited or seen.place("app", "test")
    hung = place is not None and place.owner == "app"
    if not hung and any(
        frame.file.startswith(("httpx/", "httpcore/")) for frame in (*seen.failure.waiting, *seen.frames)
    ):
        return RuleFinding(
            Category.TIMEOUT,
            Responsibility.CODE,
            f"the service did not answer in time at {place}",
            0.75,
            "no answer",
            REPRODUCE,
        )
    if seen.link("commitstream.lifecycle.attempt.OutOfTimeError"):
        hung = True
    if place is None:
        return RuleFinding(
            Category.TIMEOUT,
            Responsibility.UNKNOWN,
            f"time ran out: {seen.said()}",
            0.6,
            f"time {seen.failure.test}",
            REPRODUCE,
        )
    fault = Responsibility.CODE if hung else Responsibility.TEST
    return RuleFinding(
        Category.TIMEOUT, fault, f"time ran out at {place}: {seen.said()}", 0.82, f"time {place}", REPRODUCE
    )


def dead_service(seen: Evidence) -> RuleFinding | None:
    """The first service that was not well when the test had failed."""
    for service in seen.unwell:
        driver = drivers().get(service.name)
        name, category = driver.title if driver else service.name, category_of(service.name)
        if service.state == "engine down":
            return RuleFinding(
                Category.CONTAINER, Responsibility.INFRASTRUCTURE, "the container engine is down", 0.9, "engine"
            )
        return RuleFinding(
            category, Responsibility.INFRASTRUCTURE, f"{name} was {service.state}", 0.9, f"service {service.name}"
        )
    return None


BEFORE_DATA = (startup_plan,)
RULES = (startup_component, server_process, event, websocket, routing, server_error, time_out, nobody_listens)
