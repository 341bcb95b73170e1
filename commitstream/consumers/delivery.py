"""What happens to the events that wait for a consumer at one stream's place.

They are handed over together. Where that fails they are handed over one by one, so that the one that can't be handled is
found. That one is tried again after pauses that double, while its stream's later events wait and other streams' go on; after
the last attempt it is put aside with the reason.
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

LONGEST_PAUSE = 300.0
LONGEST_REASON = 2000
MARGIN_SECONDS = 5.0


@dataclass(frozen=True)
class Terms:
    """Who handles events, how often and how long one may try, and the pause after the first failure."""

    handler: Handler
    attempts: int
    seconds: float
    pause: float

    @property
    def lease(self) -> float:
        """How long a place is taken: longer than a handler may try, so that no two handle the same event at once."""
        return self.seconds + MARGIN_SECONDS

    def pause_after(self, attempts: int) -> float:
        return min(self.pause * 2.0 ** min(attempts - 1, 30), LONGEST_PAUSE)


@dataclass
class ConsumerTally:
    """What a consumer did in this process."""

    handled: int = 0
    failed: int = 0
    buried: int = 0


class Delivery:
    def __init__(
        self,
        positions: Positions,
        terms: Terms,
        tally: ConsumerTally,
        claim: Claim,
        page: Batch | None,
        deadline: float,
    ) -> None:
        self._positions = positions
        self._terms = terms
        self._tally = tally
        self._claim = claim
        self._page = page.frames if page is not None else []
        self._deadline = deadline

    async def run(self) -> None:
        """Hand the events over, and bring the place up to where that succeeded."""
        try:
            if not self._page:
                await self._let_go(self._claim.seq, attempts=0)
            elif self._claim.attempts > self._terms.attempts:
                await self._bury(self._page[0], "every process that handled it died or lost the database")
            else:
                await self._deliver(self._page if self._claim.attempts == 1 else self._page[:1])
        except asyncio.CancelledError:
            await self._let_go(self._claim.seq, attempts=self._claim.attempts - 1)
            raise

    async def _deliver(self, frames: Sequence[str]) -> None:
        reason = await self._try(frames)
        if reason is None:
            await self._let_go(self._claim.seq + len(frames), attempts=0)
        elif len(frames) == 1:
            await self._put_off_or_bury(frames[0], reason)
        elif await self._hold(self._claim.seq):
            await self._one_by_one(frames)

    async def _one_by_one(self, frames: Sequence[str]) -> None:
        for frame in frames:
            reason = await self._try([frame])
            if reason is not None:
                await self._put_off_or_bury(frame, reason)
                return
            if not await self._hold(self._claim.seq + 1):
                return
        await self._let_go(self._claim.seq, attempts=0)

    async def _try(self, frames: Sequence[str]) -> str | None:
        reason = await hand_over(self._terms, self._claim.stream, frames, self._deadline)
        if reason is None:
            self._tally.handled += len(frames)
        else:
            self._tally.failed += 1
        return reason

    async def _hold(self, seq: int) -> bool:
        """Note how far we came, and take the time for another try; False where somebody else has the place."""
        self._deadline = asyncio.get_running_loop().time() + self._terms.seconds
        self._claim = replace(self._claim, seq=seq, attempts=1)
        ours = await self._positions.move(self._claim, seq, attempts=1, seconds=self._terms.lease)
        if not ours:
            logger.warning("the place of %s was lost: it took too long", self._claim.stream)
        return ours

    async def _let_go(self, seq: int, *, attempts: int, pause: float = 0.0) -> None:
        self._claim = replace(self._claim, seq=seq, attempts=attempts + 1)  # also if we are cut off in the next line
        await self._positions.move(self._claim, seq, attempts=attempts, seconds=pause)

    async def _put_off_or_bury(self, frame: str, reason: str) -> None:
        attempts = self._claim.attempts
        if attempts >= self._terms.attempts:
            await self._bury(frame, reason)
            return
        pause = self._terms.pause_after(attempts)
        logger.warning(
            "event %d of %s: attempt %d of %d failed, the next in %g s: %s",
            self._claim.seq + 1,
            self._claim.stream,
            attempts,
            self._terms.attempts,
            pause,
            reason,
        )
        await self._let_go(self._claim.seq, attempts=attempts, pause=pause)

    async def _bury(self, frame: str, reason: str) -> None:
        if await self._positions.bury(self._claim, frame, reason):
            self._tally.buried += 1
            logger.error("event %d of %s is a dead letter: %s", self._claim.seq + 1, self._claim.stream, reason)


async def hand_over(terms: Terms, stream: str, frames: Sequence[str], deadline: float) -> str | None:
    """Have events handled; tell why that failed, or nothing."""
    try:
        events = [Envelope.model_validate_json(frame) for frame in frames]
        async with asyncio.timeout_at(deadline) as timer:
            await terms.handler(stream, events)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return described(error)
    except Exception as error:  # noqa: BLE001 - a handler may raise anything, and none of it may end the consumer
        if isinstance(error, TimeoutError) and timer.expired():
            return f"not done within {terms.seconds:g} s"
        return described(error)
    return None


def described(error: BaseException) -> str:
    """What was raised, in text that every database can hold."""
    said = f"{type(error).__name__}: {error}".removesuffix(": ")[:LONGEST_REASON]
    return said.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
