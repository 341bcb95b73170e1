"""A call with a timeout.

The call is cancelled after its timeout, and abandoned when it ignores the cancellation, so that its caller can
continue. A function that is not async runs in a daemon thread, since no other thread can be abandoned.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import threading
from collections.abc import Callable

Call = Callable[[], object]

CANCELLATION_GRACE = 0.2  # seconds that a cancelled call has for its own `finally` blocks

_running: set[asyncio.Task[None]] = set()  # the event loop itself holds tasks only weakly


class OutOfTimeError(TimeoutError):
    """A call did not end within its timeout; `abandoned` when it ignored its cancellation too."""

    def __init__(self, timeout: float, *, abandoned: bool) -> None:
        ignored = ", ignored its cancellation and was abandoned" if abandoned else ""
        super().__init__(f"did not finish within {timeout:g} s{ignored}")
        self.abandoned = abandoned


async def attempt(call: Call, timeout: float, interrupt: asyncio.Future[None] | None = None) -> BaseException | None:
    """Make the call and return its error, or None; an interrupt ends it as its timeout does."""
    task = asyncio.create_task(_contained(call))
    _running.add(task)
    task.add_done_callback(_on_done)
    try:
        watched = {task} if interrupt is None else {task, interrupt}
        await asyncio.wait(watched, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if late := not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=CANCELLATION_GRACE)
    if not task.done():
        return OutOfTimeError(timeout, abandoned=True)
    error = RuntimeError("it was cancelled from inside") if task.cancelled() else task.exception()
    return OutOfTimeError(timeout, abandoned=False) if late and error is not None else error


async def answer(call: Call) -> object:
    """Await an async call; make any other in a thread, and await what it returns when that is awaitable."""
    result = call() if inspect.iscoroutinefunction(call) else await _in_a_daemon_thread(call)
    return await result if inspect.isawaitable(result) else result


def describe(error: BaseException) -> str:
    """Return the type of an error and its message."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def _contained(call: Call) -> None:
    try:
        await answer(call)
    except SystemExit as error:  # it would end the event loop and the rest of the cleanup
        raise RuntimeError(f"it called sys.exit({error.code!r}) where it should raise an error") from error


async def _in_a_daemon_thread(call: Call) -> object:
    outcome: concurrent.futures.Future[object] = concurrent.futures.Future()
    outcome.set_running_or_notify_cancel()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            outcome.set_result(context.run(call))
        except BaseException as error:  # noqa: BLE001, it is raised again where the call is awaited
            outcome.set_exception(error)

    threading.Thread(target=work, name=f"attempt of {call!r}", daemon=True).start()
    return await asyncio.wrap_future(outcome)


def _on_done(task: asyncio.Task[None]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # retrieved, or asyncio would log the error of an abandoned call
