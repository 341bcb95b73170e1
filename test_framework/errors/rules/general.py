"""What is left: an exception or an assertion, and whose line it is."""

from __future__ import annotations

import re

from test_framework.errors.categories import REPRODUCE, Category, Responsibility
from test_framework.errors.evidence import Evidence, RuleFinding, short

SAID_TO_FAIL = ("Failed", "_pytest.outcomes.Failed")  # pytest gives its own a module that it is not in


def raised_in_the_app(seen: Evidence) -> RuleFinding | None:
    """The innermost line of ours is the app's: it raised, or handed over what a library refused."""
    place = seen.place("app", "test")
    if place is None or place.owner != "app" or seen.root is None:
        return None
    cause = f"{short(seen.root.type)} at {place}: {seen.said()}"
    return RuleFinding(
        Category.ASSERTION, Responsibility.CODE, cause, 0.85, f"{seen.root.type} {place.file} {place.function}"
    )


def assertion_of_the_test(seen: Evidence) -> RuleFinding | None:
    """An assertion that fails: about the system, or about nothing but the test's own values."""
    link = seen.link("AssertionError", *SAID_TO_FAIL)
    place = seen.place("test")
    if link is None or place is None or not seen.failure.subject:
        return None
    key = f"{place.file} {place.function} {place.line}"
    if seen.failure.subject == "test":
        cause = f"the test contradicts itself at {place}: {seen.failure.expression}"
        return RuleFinding(Category.TEST_BUG, Responsibility.TEST, cause, 0.8, key)
    cause = f"the code gives another value than {place.function} expects: {seen.said(link)}"
    return RuleFinding(Category.ASSERTION, Responsibility.CODE, cause, 0.75, key)


def raised_in_the_test(seen: Evidence) -> RuleFinding | None:
    """The innermost line of ours is the test's, and it is no assertion: the test is wrong."""
    place = seen.place("test", "app")
    if place is None or place.owner != "test" or seen.root is None or seen.link("AssertionError", *SAID_TO_FAIL):
        return None
    cause = f"{short(seen.root.type)} in the test itself at {place}: {seen.said()}"
    return RuleFinding(
        Category.TEST_BUG, Responsibility.TEST, cause, 0.8, f"{seen.root.type} {place.file} {place.function}"
    )


def expected_to_fail(seen: Evidence) -> RuleFinding | None:
    """A test that is marked to fail, and passes: good news, and a mark that has to go."""
    if "[XPASS(strict)]" not in seen.failure.text:
        return None
    cause = f"{seen.failure.test.rpartition('::')[2]} passes now, though it is marked xfail: take the mark away"
    return RuleFinding(Category.TEST_BUG, Responsibility.TEST, cause, 0.97, f"xfail {seen.failure.test}", REPRODUCE)


def worker_died(seen: Evidence) -> RuleFinding | None:
    """A process that was killed or ended itself left no word; any guess would be one."""
    match = re.search(r"worker '(\w+)' crashed while running '?([^'\n]+)", seen.failure.text)
    if match is None:
        return None
    cause = f"worker {match.group(1)} died while it ran {match.group(2)}: killed, out of memory, or os._exit()"
    return RuleFinding(Category.UNKNOWN, Responsibility.UNKNOWN, cause, 0.0, f"died {match.group(2)}", REPRODUCE)


RULES = (expected_to_fail, worker_died, raised_in_the_app, assertion_of_the_test, raised_in_the_test)
