"""A loop is run by whoever runs the program: never inside another one, and never while a module is imported."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from types import FrameType
from typing import Any

from test_framework.guards.leaks.origins import Line, is_ours
from test_framework.guards.offences import Offence, commit, excused, here

WAIVER = "or say why it must be so: `# on purpose: <why>`"


def imported_at(frame: FrameType | None) -> Line | None:
    """Find the line of this project whose import is under way, if the stack leads there before anywhere else's."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "<module>":
            program = frame.f_globals.get("__name__") == "__main__"
            return (
                Line(code.co_filename, frame.f_lineno, "<module>")
                if is_ours(code.co_filename) and not program
                else None
            )
        frame = frame.f_back
    return None


def refuse_at_import(what: str, frame: FrameType | None, remedy: str) -> None:
    """Raise if this project is being imported: whoever imports it from a coroutine, or twice, would be surprised."""
    place = imported_at(frame)
    if place is not None and not excused((place,)):
        raise Offence(f"{what} at import, {place}: {remedy}, {WAIVER}")


def watch_runs() -> Callable[[], None]:
    """Refuse loops inside loops and loops at import; return how to stop watching."""
    real: dict[tuple[Any, str], Any] = {}

    def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        original = real[owner, name] = getattr(owner, name)
        setattr(owner, name, functools.wraps(original)(make(original)))

    def runs(what: str) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            def run(*arguments: Any, **options: Any) -> Any:
                refuse_nested(what, *arguments)
                return original(*arguments, **options)

            return run

        return make

    def asks(original: Any) -> Any:
        def ask() -> asyncio.AbstractEventLoop:
            if asyncio._get_running_loop() is None:
                import sys

                remedy = "ask for it inside the coroutine, with asyncio.get_running_loop()"
                refuse_at_import("asyncio.get_event_loop()", sys._getframe(1), remedy)
            loop: asyncio.AbstractEventLoop = original()
            return loop

        return ask

    replace(asyncio, "run", runs("asyncio.run()"))
    replace(asyncio.Runner, "run", runs("asyncio.Runner.run()"))
    replace(asyncio.BaseEventLoop, "run_until_complete", runs("loop.run_until_complete()"))
    replace(asyncio.BaseEventLoop, "run_forever", runs("loop.run_forever()"))
    replace(asyncio, "get_event_loop", asks)

    def stop() -> None:
        for (owner, name), original in real.items():
            setattr(owner, name, original)

    return stop


def refuse_nested(what: str, *arguments: object) -> None:
    """Raise if a loop runs already, with the line that wants another, and close the coroutine nobody will await."""
    if asyncio._get_running_loop() is None:
        return
    birth = here()
    if excused(birth.lines):
        return
    for argument in arguments:
        if asyncio.iscoroutine(argument):
            argument.close()
    at = f", {birth.lines[0]}" if birth.lines else ""
    text = f"{what} cannot be called from a running event loop{at}: await the work instead, {WAIVER}"
    raise Offence(commit(text))
