"""Under which circumstances a run began: the code, the machine and the dice, as plain values for the record's first line."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

GIT_SECONDS = 5.0
_SECRET = re.compile(r"(?i)((?:password|secret|token|key)[\w-]*[= ])\S+|(?<=://)[^/\s@]+@")


def of_the_code(root: Path, environment: Mapping[str, str] = os.environ) -> dict[str, object]:
    """Ask git which commit this is, on which branch, and whether anything was changed; empty where git can't say."""
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch"]
    try:
        done = subprocess.run(
            command, cwd=root, capture_output=True, timeout=GIT_SECONDS, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    lines = done.stdout.decode(errors="replace").splitlines()
    told = {key: value for key, _, value in (line[2:].partition(" ") for line in lines if line.startswith("# "))}
    branch = environment.get("GITHUB_HEAD_REF") or environment.get("GITHUB_REF_NAME") or told.get("branch.head", "")
    commit = told.get("branch.oid", "")
    return {
        "commit": "" if commit == "(initial)" else commit,
        "branch": branch,
        "dirty": any(not line.startswith("#") for line in lines),
    }


def of_the_machine() -> dict[str, object]:
    """Describe the interpreter and the machine."""
    memory = 0
    with suppress(AttributeError, ValueError, OSError):  # not every system tells it so
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processors": os.cpu_count() or 0,
        "memory_bytes": memory,
    }


def of_ci(environment: Mapping[str, str] = os.environ) -> dict[str, object]:
    """Say where the run can be looked at, where it can."""
    server, repository, run = (environment.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID"))
    return {"link": f"{server}/{repository}/actions/runs/{run}"} if server and repository and run else {}


def command_line(arguments: Sequence[str]) -> str:
    """Write the command as it can be given again, without what must not be written down."""
    line = shlex.join([Path(sys.executable).name, "-m", "pytest", *arguments])
    return _SECRET.sub(lambda found: f"{found[1] or ''}***{'@' if found[1] is None else ''}", line)
