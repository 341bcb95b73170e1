"""What happens to the events that a consumer has not handled yet, of one stream.

The handler gets them together. Where that fails it gets them one by one, so that the event that can't be handled is
found. That event is retried with exponential backoff, while later events of its stream wait and other streams go on;
after the last attempt it becomes a dead letter with the reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from commitstream.consumers.positions import Claim, Positions
from commitstream.envelope import Batch, Envelope

logger = logging.getLogger(__name__)

Handler = Callable[[str, Sequence[Envelope]], Awaitable[None]]

LONGEST_BACKOFF = 300.0
LONGEST_REASON = 2000
LEASE_MARGIN_SECONDS = 5.0


@dataclass(frozen=True)
class RetryPolicy:
    """The handler, how often and how long it may try, and the backoff after the first failure."""

    handler: Handler
    attempts: int
    handler_timeout: float
    backoff: float

    @property
    def lease(self) -> float:
        """Seconds of a lease: longer than a handler may take, so that no two run at once."""
        return self.handler_timeout + LEASE_MARGIN_SECONDS

    def backoff_after(self, attempts: int) -> float:
        return min(self.backoff * 2.0 ** min(attempts - 1, 30), LONGEST_BACKOFF)


@dataclass
class ConsumerCounters:
    """What a consumer did in this process."""

    handled: int = 0
    failed: int = 0
    dead_lettered: int = 0


class Delivery:
    """The delivery of one page of a stream's events, under a lease on the consumer's position."""

    def __init__(
        self,
        positions: Positions,
        policy: RetryPolicy,
        counters: ConsumerCounters,
        claim: Claim,
        page: Batch | None,
        deadline: float,
    ) -> None:
        self._positions = positions
        self._policy = policy
        self._counters = counters
        self._claim = claim
        self._page = page.frames if page is not None else []
        self._deadline = deadline

    async def run(self) -> None:
        """Call the handler with the events, and move the position to the last one that it handled."""
        try:
            if not self._page:
                await self._release(self._claim.seq, attempts=0)
            elif self._claim.attempts > self._policy.attempts:
                await self._dead_letter(self._page[0], "every process that handled it died or lost the database")
            else:
                await self._deliver(self._page if self._claim.attempts == 1 else self._page[:1])
        except asyncio.CancelledError:
            await self._release(self._claim.seq, attempts=self._claim.attempts - 1)
            raise

    async def _deliver(self, frames: Sequence[str]) -> None:
        reason = await self._try(frames)
        if reason is None:
            await self._release(self._claim.seq + len(frames), attempts=0)
        elif len(frames) == 1:
            await self._retry_or_dead_letter(frames[0], reason)
        elif await self._renew(self._claim.seq):
            await self._one_by_one(frames)

    async def _one_by_one(self, frames: Sequence[str]) -> None:
        for frame in frames:
            reason = await self._try([frame])
            if reason is not None:
                await self._retry_or_dead_letter(frame, reason)
                return
            if not await self._renew(self._claim.seq + 1):
                return
        await self._release(self._claim.seq, attempts=0)

    async def _try(self, frames: Sequence[str]) -> str | None:
        reason = await call_handler(self._policy, self._claim.stream, frames, self._deadline)
        if reason is None:
            self._counters.handled += len(frames)
        else:
            self._counters.failed += 1
        return reason

    async def _renew(self, seq: int) -> bool:
        """Store the position and renew the lease; False where another process has it."""
        self._deadline = asyncio.get_running_loop().time() + self._policy.handler_timeout
        self._claim = replace(self._claim, seq=seq, attempts=1)
        ours = await self._positions.move(self._claim, seq, attempts=1, lease=self._policy.lease)
        if not ours:
            logger.warning("lease on stream %s expired before the handler finished", self._claim.stream)
        return ours

    async def _release(self, seq: int, *, attempts: int, backoff: float = 0.0) -> None:
        """Store the position and end the lease, at once or after a backoff."""
        self._claim = replace(self._claim, seq=seq, attempts=attempts + 1)  # also if the next line is cancelled
        await self._positions.move(self._claim, seq, attempts=attempts, lease=backoff)

    async def _retry_or_dead_letter(self, frame: str, reason: str) -> None:
        attempts = self._claim.attempts
        if attempts >= self._policy.attempts:
            await self._dead_letter(frame, reason)
            return
        backoff = self._policy.backoff_after(attempts)
        logger.warning(
            "event %d of %s: attempt %d of %d failed, retrying in %g s: %s",
            self._claim.seq + 1,
            self._claim.stream,
            attempts,
            self._policy.attempts,
            backoff,
            reason,
        )
        await self._release(self._claim.seq, attempts=attempts, backoff=backoff)

    async def _dead_letter(self, frame: str, reason: str) -> None:
        if await self._positions.store_dead_letter(self._claim, frame, reason):
            self._counters.dead_lettered += 1
            logger.error("event %d of %s is a dead letter: %s", self._claim.seq + 1, self._claim.stream, reason)


async def call_handler(policy: RetryPolicy, stream: str, frames: Sequence[str], deadline: float) -> str | None:
    """Call the handler with events, until a deadline; return why that failed, or None."""
    try:
        events = [Envelope.model_validate_json(frame) for frame in frames]
        async with asyncio.timeout_at(deadline) as timer:
            await policy.handler(stream, events)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return describe(error)
    except Exception as error:  # noqa: BLE001 - a handler may raise anything, and none of it may end the consumer
        if isinstance(error, TimeoutError) and timer.expired():
            return f"not done within {policy.handler_timeout:g} s"
        return describe(error)
    return None


def describe(error: BaseException) -> str:
    """Return what was raised, as text that every database can store."""
    text = f"{type(error).__name__}: {error}".removesuffix(": ")[:LONGEST_REASON]
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
