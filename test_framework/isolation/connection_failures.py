"""Counts the connections to the run's own Postgres that fail or break, where the driver meets it.

A test that breaks a Postgres has a separate one, at another address (see faults/fixtures.py): what fails there is not counted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine, ExceptionContext
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.engine.interfaces import DBAPIConnection

from test_framework.services.drivers.postgres import address_of
from test_framework.services.probes import Address

POSTGRES = "postgresql"


@contextmanager
def counted(postgres: Callable[[], str | None], failures: dict[str, int]) -> Iterator[None]:
    """Count failures by test and error while the block lasts; `postgres` returns the address of the run's own, if any."""

    def count(address: Address, error: BaseException) -> None:
        url = postgres()
        if url is not None and address_of(url) == address:
            test = os.environ.get("PYTEST_CURRENT_TEST", "between tests").rpartition(" (")[0] or "between tests"
            kind = type(error)
            key = f"{test}: {kind.__module__}.{kind.__qualname__}"
            failures[key] = failures.get(key, 0) + 1

    def connect(dialect: DefaultDialect, *arguments: Any, **parameters: Any) -> DBAPIConnection:
        try:
            return original(dialect, *arguments, **parameters)
        except Exception as error:
            if dialect.name == POSTGRES:
                count(_address(parameters), error)
            raise

    def lose(context: ExceptionContext) -> None:
        # one that was never opened has no connection here, and was counted by `connect`
        if context.dialect.name != POSTGRES or context.connection is None or not context.is_disconnect:
            return
        if isinstance(context.original_exception, Exception):  # a cancelled task also gives up its connection
            url = context.connection.engine.url
            count(_address(url.translate_connect_args() | dict(url.query)), context.original_exception)

    # not a listener of do_connect: one that connects keeps those after it, as the kept connections', from being called
    original = DefaultDialect.connect
    DefaultDialect.connect = connect  # type: ignore[method-assign, assignment]
    event.listen(Engine, "handle_error", lose)
    try:
        yield
    finally:
        DefaultDialect.connect = original  # type: ignore[method-assign]
        event.remove(Engine, "handle_error", lose)


def _address(parameters: dict[str, Any]) -> Address:
    host, port = parameters.get("host") or "127.0.0.1", int(parameters.get("port") or 5432)
    first = str(host if isinstance(host, str) else host[0])
    return Address(Path(first) / f".s.PGSQL.{port}") if first.startswith("/") else Address(host=first, port=port)
