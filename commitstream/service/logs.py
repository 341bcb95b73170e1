"""Logs: every line has the ids of its request, run and trace."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

request_id: ContextVar[str] = ContextVar("request_id", default="")
run_id: ContextVar[str] = ContextVar("run_id", default="")
trace_id: ContextVar[str] = ContextVar("trace_id", default="")
_CONTEXT = {"request_id": request_id, "run_id": run_id, "trace_id": trace_id}

QUIET = ("uvicorn", "uvicorn.error", "alembic", "asyncio", "httpx", "httpx2", "openai")


class JsonLines(logging.Formatter):
    """One JSON object per line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **bound(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)  # in ASCII, which can express every character that a message may have


class Lines(logging.Formatter):
    """One readable line per record, for people."""

    def format(self, record: logging.LogRecord) -> str:
        ids = "".join(
            f" {name.removesuffix('_id')}={value[:8]}" for name, value in bound().items() if name != "trace_id"
        )
        return super().format(record) + ids


def bound() -> dict[str, str]:
    """Return the ids of the current request, run and trace."""
    return {name: value for name, variable in _CONTEXT.items() if (value := variable.get())}


def set_up(level: str, form: Literal["console", "json"]) -> None:
    """Write this process's log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else Lines("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
