"""Keeps a failure where it happens: called once for each, it reads the exception while its frames still live."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath

import pytest

from test_framework.errors.chain import links, walk
from test_framework.errors.failure import PROPERTY, Circumstances, Failure, Phase
from test_framework.errors.frames import Places, hidden
from test_framework.errors.reproduce import command
from test_framework.errors.subject import About, about
from test_framework.errors.surroundings import circumstances, pools_of, ports, services_of, states, waiting

SECTION = "reproduce"
FIXTURES_KEPT = 12
SHARED_BY_ALL = frozenset({"redis_url", "pool"})
PLAIN = (str, bytes, int, float, PurePath)
TEXT_KEPT = 1500


def of_test(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Keep why one phase of a test failed, and show how to see it again."""
    if report.outcome == "failed" and call.excinfo is not None:
        error = call.excinfo.value
        _keep(report, item.config, lambda: _failure(item, call, error))


def of_collection(collector: pytest.Collector, report: pytest.CollectReport) -> None:
    """Keep why a file could not be collected."""
    call: pytest.CallInfo[object] | None = report.__dict__.get("call")
    if report.outcome == "failed" and call is not None and call.excinfo is not None:
        error, began, ended = call.excinfo.value, call.start, call.stop
        config = collector.config

        def failure() -> Failure:
            chain = links(error, Places(config.rootpath))
            return Failure(
                collector.nodeid, "collect", chain, began=began, ended=ended, circumstances=circumstances(config)
            )

        _keep(report, config, failure)


def _failure(item: pytest.Item, call: pytest.CallInfo[None], error: BaseException) -> Failure:
    places = Places(item.config.rootpath)
    pools = pools_of(item)
    services = services_of(item, pools)
    found, overrides = _about(item, error, places) if call.when == "call" else (About(), ())
    fixtures = tuple(name for name in getattr(item, "fixturenames", ()) if not name.startswith("_"))
    return Failure(
        test=item.nodeid,
        phase=_phase(call.when),
        chain=links(error, places),
        fixture=_fixture(item, error) if call.when != "call" else "",
        fixtures=fixtures[:FIXTURES_KEPT],
        subject=found.subject,
        expression=places.clean(found.expression),
        shared=found.shared,
        shared_fixtures=_shared_fixtures(item, found),
        overrides=overrides,
        waiting=waiting(item, places) if "Timeout" in type(error).__name__ or "Timeout" in str(error) else (),
        services=states(services),
        healed=tuple(str(healed) for pool in pools for healed in pool.statistics.healed[-5:]),
        ports=ports(services),
        worker=str(getattr(item.config, "workerinput", {}).get("workerid", "")),
        began=call.start,
        ended=call.stop,
        circumstances=circumstances(item.config, services),
    )


def _keep(
    report: pytest.TestReport | pytest.CollectReport, config: pytest.Config, failure: Callable[[], Failure]
) -> None:
    """Put a failure beside its report; whatever goes wrong in that must not cost the report itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # to look at an attribute that a library has deprecated is no fault of the test
            kept = failure()
    except Exception as trouble:  # noqa: BLE001 - any, since we look at objects that are broken by definition
        kept = replace(of_report(report), text=f"{report.longreprtext[-TEXT_KEPT:]}\n(not looked into: {trouble!r})")
    report.__dict__["user_properties"] = [*getattr(report, "user_properties", ()), (PROPERTY, kept.to_json())]
    report.sections.append((SECTION, command(kept, config.rootpath)))


def of_report(report: pytest.TestReport | pytest.CollectReport) -> Failure:
    """Return what was kept with a report, or what can be read off one that nobody could keep anything with."""
    for name, kept in getattr(report, "user_properties", ()):
        if name == PROPERTY:
            return Failure.from_json(kept)
    crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", "") or report.longreprtext
    places = Places(Path.cwd())
    return Failure(
        test=report.nodeid,
        phase=_phase(report.when),
        began=getattr(report, "start", 0.0),
        ended=getattr(report, "stop", 0.0),
        worker=str(getattr(report, "worker_id", "")),
        text=places.clean(crash, TEXT_KEPT),
    )


def with_circumstances(failure: Failure, config: pytest.Config) -> Failure:
    """Fill in how the run was started where the failure does not say."""
    if failure.circumstances != Circumstances():
        return failure
    return replace(failure, circumstances=circumstances(config))


def _phase(when: str | None) -> Phase:
    match when:
        case "setup" | "call" | "teardown" | "collect":
            return when
        case _:
            return "run"


def _about(item: pytest.Item, error: BaseException, places: Places) -> tuple[About, tuple[str, ...]]:
    """Look at the test's innermost line while its values are there."""
    tests = [
        (frame, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not hidden(frame) and places.of(frame.f_code.co_filename)[1] == "test"
    ]
    if not tests:
        return About(), ()
    frame, line = tests[-1]
    given = frozenset(getattr(getattr(item, "callspec", None), "params", {}))
    near = [*frame.f_locals.values(), *frame.f_globals.values()]
    return about(frame, line, given), tuple(_overridden(near))


def _overridden(values: Iterable[object]) -> Iterator[str]:
    """Name the dependencies that are replaced in the apps among some values."""
    for value in values:
        replaced = getattr(value, "dependency_overrides", None) if type(value).__name__ == "FastAPI" else None
        yield from (getattr(original, "__name__", str(original)) for original in replaced or ())


def _shared_fixtures(item: pytest.Item, found: About) -> tuple[str, ...]:
    """Name what a line uses that lives longer than its test, and in which another test could have left something."""
    definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    values: dict[str, object] = getattr(item, "funcargs", {})
    named = set(re.findall(r"\w+", found.expression))
    wider = {
        name
        for name in found.arguments
        if any(known.scope != "function" for known in definitions.get(name, ())[-1:])
        # what is computed from a path or a number says little about who changed it
        and (name in named or not isinstance(values.get(name), PLAIN))
    }
    return tuple(sorted(wider | (found.arguments & SHARED_BY_ALL)))


def _fixture(item: pytest.Item, error: BaseException) -> str:
    """Name the fixture that failed: the innermost one that the exception passed through."""
    if isinstance(missing := getattr(error, "argname", None), str):
        return missing
    definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    codes = {
        getattr(getattr(definition.func, "__wrapped__", definition.func), "__code__", None): name
        for name, known in definitions.items()
        for definition in known
    }
    by_name = set(definitions)
    found = ""
    for each, _ in walk(error):
        for frame, _line in traceback.walk_tb(each.__traceback__):
            code = frame.f_code
            if code in codes:
                found = codes[code]
            elif code.co_name in by_name:
                found = code.co_name
        if found:
            return found
    return found
