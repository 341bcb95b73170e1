"""Fixtures and event loops: pytest's and asyncio's own words are the surest sign there is."""

from __future__ import annotations

from test_framework.errors.categories import REPRODUCE, Category, Responsibility
from test_framework.errors.evidence import Evidence, RuleFinding

FIXTURES = (
    r"fixture '[^']*' not found|ScopeMismatch|recursive dependency involving fixture|fixture function has more than one 'yield'"
    r"|did not yield a value|[Ff]ixtures are not meant to be called directly|Fixture \"\w+\" called directly"
    r"|requested an async fixture|function uses no (?:argument|fixture)|uses no fixture|function already takes an argument"
    r"|duplicate parametrization|yield_fixture function has more than one|was requested with .{0,40}loop_scope"
)
LOOPS = (
    r"attached to a different loop|is bound to a different event loop|Event loop is closed|event loop is closed"
    r"|cannot be called from a running event loop|event loop is already running|no running event loop"
    r"|no current event loop|while another loop is running|Non-thread-safe operation|Event loop stopped before"
    r"|of another loop, |is not the running loop|loop argument must agree"
)


def fixture_used_wrongly(seen: Evidence) -> RuleFinding | None:
    """pytest refuses a fixture: it does not exist, or can't be used so."""
    link = seen.link("_pytest.fixtures.FixtureLookupError", "_pytest.fixtures.FixtureLookupErrorRepr")
    match = seen.says(FIXTURES)
    if link is None and match is None:
        return None
    if link is not None and link.fact("argname"):
        name = str(link.fact("argname"))
        said = f"no fixture is named {name!r}" if not seen.says("recursive") else seen.said(link)
        return RuleFinding(
            Category.FIXTURE,
            Responsibility.TEST,
            f"{said}, which {seen.failure.test.rpartition('::')[2]} needs",
            0.97,
            f"fixture {name}",
        )
    said = next(line.strip() for line in seen.text.splitlines() if match and match.group().lower() in line.lower())
    return RuleFinding(
        Category.FIXTURE,
        Responsibility.TEST,
        said.removeprefix("E ").strip()[:200],
        0.95,
        f"fixture {seen.failure.fixture or said[:60]}",
    )


def wrong_loop(seen: Evidence) -> RuleFinding | None:
    """Something of asyncio in another loop than its own, in none, or in one that runs."""
    match = seen.says(LOOPS)
    if match is None:
        return None
    cause = f"something of asyncio is used where it can't be, at {seen.place()}: {match.group()}"
    return RuleFinding(Category.EVENT_LOOP, seen.blamed, cause, 0.93, f"loop {match.group()} {seen.place()}", REPRODUCE)


def never_awaited(seen: Evidence) -> RuleFinding | None:
    """A coroutine that was made and forgotten."""
    match = seen.says(r"coroutine '([^']*)' was never awaited")
    if match is None:
        return None
    fault = fault_of_name(seen, match.group(1))
    return RuleFinding(
        Category.EVENT_LOOP,
        fault,
        f"{match.group(1)}() was called and never awaited",
        0.9,
        f"await {match.group(1)}",
        REPRODUCE,
    )


def blocked_loop(seen: Evidence) -> RuleFinding | None:
    """A call that holds up everything else in its loop."""
    if seen.link("blockbuster.blockbuster.BlockingError") is None and not seen.says(
        r"blocking call to|blocks? the (?:event )?loop|stops? everything else on the loop"
    ):
        return None
    cause = f"the loop was held up at {seen.place()}: {seen.said()}"
    return RuleFinding(Category.EVENT_LOOP, seen.blamed, cause, 0.92, f"blocked {seen.place()}", REPRODUCE)


def fault_of_name(seen: Evidence, name: str) -> Responsibility:
    """Whose a function is of which only the name is known: the app's where the app has one."""
    defined = seen.fact("coroutine_owner")
    if defined:
        return Responsibility.CODE if defined == "app" else Responsibility.TEST
    return seen.blamed if seen.blamed is not Responsibility.UNKNOWN else Responsibility.TEST


RULES = (fixture_used_wrongly, never_awaited, wrong_loop, blocked_loop)
