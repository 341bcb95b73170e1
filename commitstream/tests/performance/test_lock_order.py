"""The promise about several streams in one transaction, at its full size; integration has a fifth of it."""

from __future__ import annotations

import pytest

from commitstream.tests.random_transactions import write_at_random

TRANSACTIONS = 10_000


@pytest.mark.timeout(300)
async def test_ten_thousand_transactions_never_deadlock(database_url: str) -> None:
    await write_at_random(database_url, TRANSACTIONS)
