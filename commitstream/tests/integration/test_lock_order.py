"""Several streams in one transaction: locked in one order, whatever order they were written in."""

from __future__ import annotations

import pytest

from commitstream.tests.random_transactions import write_at_random

TRANSACTIONS = 2_000


@pytest.mark.timeout(60)
async def test_random_transactions_never_deadlock(database_url: str) -> None:
    await write_at_random(database_url, TRANSACTIONS)
