"""Rate limits per user and process: requests a minute, sockets at once, messages on a socket."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from math import ceil

from commitstream.service.problems import Problem

BURST_SECONDS = 10
REMEMBERED_USERS = 100_000


class Bucket:
    """A token bucket: it fills steadily and allows bursts; `level` is the number of tokens in it."""

    __slots__ = ("capacity", "level", "per_second", "seen")

    def __init__(self, per_minute: float) -> None:
        self.per_second = per_minute / 60
        self.capacity = self.level = max(1.0, self.per_second * BURST_SECONDS)
        self.seen = time.monotonic()

    def take(self) -> float:
        """Take a token and return 0, or return the seconds until there is one."""
        now = time.monotonic()
        self.level = min(self.capacity, self.level + (now - self.seen) * self.per_second)
        self.seen = now
        if self.level >= 1:
            self.level -= 1
            return 0.0
        return (1 - self.level) / self.per_second


class Limits:
    """The limits of all users in this process."""

    def __init__(self, requests_per_minute: int, sockets_per_user: int) -> None:
        self._requests_per_minute = requests_per_minute
        self._sockets_per_user = sockets_per_user
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._sockets: Counter[str] = Counter()

    def count_request(self, user_id: str) -> None:
        """Count a request; raises a Problem with `Retry-After` when the user has sent too many."""
        bucket = self._buckets.setdefault(user_id, Bucket(self._requests_per_minute))
        self._buckets.move_to_end(user_id)
        if len(self._buckets) > REMEMBERED_USERS:
            self._buckets.popitem(last=False)
        if wait := bucket.take():
            seconds = ceil(wait)
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"more than {self._requests_per_minute} requests a minute; the next one may come in {seconds} s",
                {"Retry-After": str(seconds)},
            )

    def require_socket(self, user_id: str) -> None:
        """Raise a Problem when the user has as many sockets as allowed."""
        if self._sockets[user_id] >= self._sockets_per_user:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS, f"more than {self._sockets_per_user} sockets at once: close one first"
            )

    @contextmanager
    def socket(self, user_id: str) -> Iterator[None]:
        """Count a user's socket while a block runs."""
        self.require_socket(user_id)
        self._sockets[user_id] += 1
        try:
            yield
        finally:
            self._sockets[user_id] -= 1
            if not self._sockets[user_id]:
                del self._sockets[user_id]
