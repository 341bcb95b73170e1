"""What a run is called, and where its record lies.

On a desk every run has a name of its own. In CI the parts of one run, its shards and their repetitions, share a name that
follows from the job, so that they meet again in one history.
"""

from __future__ import annotations

import platform
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

DIRECTORY = ".reports"
RECORD = "record.jsonl"


@dataclass(frozen=True)
class RunName:
    """A run, and which part of it a record is."""

    run: str
    attempt: int = 1
    shard: int = 1
    shards: int = 1

    @property
    def folder(self) -> str:
        shard = f".s{self.shard}of{self.shards}" if self.shards > 1 else ""
        return self.run + shard + (f".a{self.attempt}" if self.attempt > 1 else "")


def name_run(environment: Mapping[str, str], now: float, *, mode: str, provider: str, shard: str = "") -> RunName:
    """Name a run that begins now; `shard` is like 2/4."""
    index, _, of = shard.partition("/")
    share = (int(index), int(of)) if index.isdigit() and of.isdigit() else (1, 1)
    if number := environment.get("GITHUB_RUN_ID"):
        python = f"py{sys.version_info.major}{sys.version_info.minor}"
        # the shards of one run may have their services from different providers
        services = provider if share == (1, 1) else ""
        parts = (environment.get("GITHUB_JOB", ""), mode, services, platform.system().lower(), python)
        run = "-".join(["ci", number, *filter(None, parts)])
        attempt = environment.get("GITHUB_RUN_ATTEMPT", "1")
        return RunName(_for_a_path(run), int(attempt) if attempt.isdigit() else 1, *share)
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S")
    return RunName(f"{stamp}-{secrets.token_hex(4)}", 1, *share)


def make_place(directory: Path, name: RunName) -> tuple[RunName, Path]:
    """Make a folder that nobody has written to yet; a second run of the same name gets a number."""
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1000):
        run = name.run if number == 1 else f"{name.run}-{number}"
        free = RunName(run, name.attempt, name.shard, name.shards)
        try:
            (directory / free.folder).mkdir()
        except FileExistsError:
            continue
        return free, directory / free.folder / RECORD
    raise FileExistsError(17, "a thousand runs of this name have been recorded", str(directory / name.folder))


def no_record(error: OSError, path: Path) -> str:
    """Say in a line why a run has no record, and what to do."""
    return f"no record of this run: {path}: {error.strerror or error}; make room there, or run with --no-record"


def _for_a_path(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text)
