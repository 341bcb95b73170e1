"""What this machine and this checkout need, one check each: it says what it saw, and the command that mends it.

A check is a plain function that returns a `CheckResult`. To add a check, append it to `CHECKS`.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from test_framework import CHECKOUT
from test_framework.guards.configuration import lowest_python
from test_framework.guards.source import Finding
from test_framework.running.declared_needs import count_needs
from test_framework.running.needs import KNOWN, Need
from test_framework.services.diagnosis import command_against

ROOM_WANTED = 2 * 1024**3
NEVER_IN_GIT = (".env.local", ".env.dynamic", ".env", "*.pem", "*.key", "id_rsa", "id_ed25519")


class CheckVerdict(Enum):
    """How a check came out; `NOTE` is worth knowing and fails nothing."""

    GOOD = "✓"
    BAD = "✗"
    NOTE = "–"


@dataclass(frozen=True)
class CheckResult:
    """What a check saw, and the command that mends it where something is to be mended."""

    verdict: CheckVerdict
    seen: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """One thing to look at, by its name."""

    name: str
    look: Callable[[], CheckResult]


def good(seen: str) -> CheckResult:
    return CheckResult(CheckVerdict.GOOD, seen)


def bad(seen: str, remedy: str) -> CheckResult:
    return CheckResult(CheckVerdict.BAD, seen, remedy)


def note(seen: str, remedy: str = "") -> CheckResult:
    return CheckResult(CheckVerdict.NOTE, seen, remedy)


def examine(checks: list[Check]) -> Iterator[tuple[Check, CheckResult]]:
    """Run the checks in order; one that breaks is a bad sign itself, and hides none of the others."""
    for check in checks:
        try:
            yield check, check.look()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with this machine, the rest is worth seeing
            yield check, bad(f"the check broke: {type(error).__name__}: {error}", "python -m pip check")


def python_version(running: tuple[int, ...] = sys.version_info[:3], root: Path = CHECKOUT) -> CheckResult:
    """Look whether this Python is one that pyproject.toml allows."""
    lowest, shown = lowest_python(root), ".".join(map(str, running))
    if running < lowest:
        return bad(
            f"{shown}, but {'.'.join(map(str, lowest))} or newer is needed",
            "nox -s setup, with a newer python3 first on the PATH",
        )
    return good(shown)


def asserts(optimize: int = sys.flags.optimize) -> CheckResult:
    """Look whether Python keeps the asserts that tests are made of."""
    return bad("Python drops asserts, so tests could not fail", "unset PYTHONOPTIMIZE") if optimize else good("kept")


def tool(name: str, without_it: str, remedy: str, *, required: bool) -> Callable[[], CheckResult]:
    """Make a check that looks for a program."""

    def look() -> CheckResult:
        found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
        if found:
            return good(found)
        return bad(without_it, remedy) if required else note(without_it, remedy)

    return look


def locks(root: Path = CHECKOUT) -> CheckResult:
    """Look whether pyproject.toml, the locks and what is installed agree."""
    from test_framework.guards import lockfile
    from test_framework.guards.source import Source

    findings = lockfile.check([Source(root, name) for name in lockfile.FILES if (root / name).exists()])
    if not findings:
        return good("pyproject.toml, locks and installed packages agree")
    what, _, remedy = findings[0].message.partition("; run: ")
    return bad(f"{what}{_and_more(findings)}", remedy)


def env_files(root: Path = CHECKOUT) -> CheckResult:
    """Look whether every .env file says what the service understands."""
    from test_framework.environment.env_files import check_tree

    findings = check_tree(root)
    return (
        bad(f"{findings[0]}{_and_more(findings)}", "invoke env.check")
        if findings
        else good("every key and value known")
    )


def own_settings(root: Path = CHECKOUT) -> CheckResult:
    """Look whether there are settings of this machine's own, for its owner's eyes."""
    local = root / ".env.local"
    if not local.exists():
        return note("no .env.local: dev keeps a secret in .data", "invoke env.init")
    if sys.platform != "win32" and local.stat().st_mode & 0o077:
        return bad("other users of this machine may read .env.local", "invoke env.init")
    return good(".env.local is there, for its owner's eyes")


def secrets_in_git(root: Path = CHECKOUT) -> CheckResult:
    """Look whether git tracks what must never leave this machine."""
    command = ["git", "ls-files", "-z", "--", *NEVER_IN_GIT, *(f"**/{name}" for name in NEVER_IN_GIT)]
    try:
        listed = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return note("no git here, so nothing is published by it")
    tracked = sorted({name for name in listed.split("\0") if name})
    if tracked:
        return bad(f"git tracks {', '.join(tracked)}: change those secrets", f"git rm --cached {' '.join(tracked)}")
    return good("none tracked")


def disk_space(root: Path = CHECKOUT, wanted: int = ROOM_WANTED) -> CheckResult:
    """Look whether there is room to install, to build and to run databases."""
    for place in {root, Path(tempfile.gettempdir())}:
        free = shutil.disk_usage(place).free
        if free < wanted:
            return bad(f"only {free / 1024**3:.1f} GiB free in {place}, {wanted / 1024**3:.1f} wanted", "rm -r .nox")
    return good("enough free")


def port_to_listen_on(root: Path = CHECKOUT) -> CheckResult:
    """Look whether the service's port can be had."""
    from test_framework.project import project
    from test_framework.services.occupants import listener_on

    settings = project().load_settings(root / ".env.local")
    taken_by = listener_on(settings.port, settings.host)
    if taken_by:
        return note(f"{settings.port} is taken by {taken_by}; dev takes the next free one", "invoke env.show")
    return good(f"{settings.port} is free")


def optional(name: str, need: Need) -> Check:
    """Make a check for what tests can do without; where it is missing, say what it would add."""

    def look() -> CheckResult:
        why = need.lacking()
        if why is None:
            return good("here")
        count = declared_needs(CHECKOUT)[name]
        seen = f"{why}; {need.what} adds {count} test function{'' if count == 1 else 's'}"
        return note(seen, command_against(why, need.remedy))

    return Check(name, look)


declared_needs = functools.cache(count_needs)


def leftovers() -> CheckResult:
    """Look for what ended runs have left behind."""
    from test_framework.services.run import sweep

    swept = sweep()
    return (
        note(f"removed what {', '.join(swept)} had left behind") if swept else good("nothing left behind by ended runs")
    )


def _and_more(findings: list[Finding]) -> str:
    return f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""


CHECKS: list[Check] = [
    Check("Python", python_version),
    Check("asserts", asserts),
    Check("nox", tool("nox", "not found, so no session can run", ". ./activate", required=True)),
    Check("uv", tool("uv", "not found: sessions install with pip, more slowly", ". ./activate", required=False)),
    *(optional(name, need) for name, need in KNOWN.items() if need.remedy),
    Check("locks", locks),
    Check(".env files", env_files),
    Check("own settings", own_settings),
    Check("secrets in git", secrets_in_git),
    Check("disk", disk_space),
    Check("port", port_to_listen_on),
    Check("leftovers", leftovers),
]
