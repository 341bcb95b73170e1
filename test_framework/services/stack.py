"""A stack is one set of services with a name, a folder and a register of its own, so that no two ever meet.

Every checkout has one `dev` stack, which lives until `invoke services.down`, and any number of run stacks, each leased and
watched: when the run ends, however it ends, its stack goes with it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from test_framework import CHECKOUT

DEV = "dev"
PASSABLE = 0o711
ROOM_NEEDED = 512 * 1024 * 1024
# a run's data: in memory and gone with its server, or kept when that ends, or on a disk so small that it can be filled
Storage = Literal["memory", "kept", "small"]


@dataclass(frozen=True)
class Stack:
    checkout: Path
    run: str
    storage: Storage = "memory"
    worker: str = ""

    @classmethod
    def dev(cls, checkout: Path = CHECKOUT) -> Stack:
        return cls(checkout.resolve(), DEV)

    @classmethod
    def of_a_run(cls, run: str | None = None, checkout: Path = CHECKOUT, storage: Storage = "memory") -> Stack:
        return cls(checkout.resolve(), run or f"run{secrets.token_hex(4)}", storage)

    def of_a_worker(self, worker: str) -> Stack:
        """The part of a run's stack that one of its workers has for itself; it ends with the run all the same."""
        return replace(self, worker=worker)

    @property
    def lasting(self) -> bool:
        """Whether data and processes outlive whoever started them."""
        return self.run == DEV

    @property
    def durable(self) -> bool:
        """Whether what was committed must outlive a crash."""
        return self.lasting or self.storage == "kept"

    @property
    def digest(self) -> str:
        return hashlib.sha256(str(self.checkout).encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """The compose project: no two checkouts and no two runs share one."""
        return "-".join(filter(None, (project_name(self.checkout), self.digest, self.run, self.worker)))

    @property
    def directory(self) -> Path:
        """Sockets, records and a run's data; short, because a socket's path may have 104 bytes."""
        return self._home / self.worker

    @property
    def _home(self) -> Path:
        return runtime_root() / f"{self.digest}-{self.run}"

    @property
    def data(self) -> Path:
        return cache_root() / "stacks" / self.directory.name if self.lasting else self.directory

    def lock_file(self, name: str) -> Path:
        """Return the file that users of this stack lock: outside of what `services.down` removes."""
        if self.lasting:
            return own_directory(cache_root() / "locks") / f"{self.directory.name}-{name}.lock"
        return own_directory(self.directory) / f"{name}.lock"

    @property
    def register(self) -> Path:
        return self._home / "register"

    @property
    def exists(self) -> bool:
        return self.directory.is_dir()


@functools.cache
def project_name(checkout: Path) -> str:
    pyproject = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    name = str(pyproject.get("project", {}).get("name", checkout.name))
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "project"


@functools.cache
def runtime_root() -> Path:
    """Return this user's own folder for what runs: in memory where there is room, else in the temp folder."""
    memory = Path("/dev/shm")
    short_temp = Path("/tmp") if sys.platform == "darwin" else Path(tempfile.gettempdir())
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM_NEEDED
    return own_directory((memory if roomy else short_temp) / f"test-framework-{user_id()}")


@functools.cache
def cache_root() -> Path:
    """Return the folder for what may be kept between runs, readable to the user that servers run as.

    A home folder may be missing or read-only: the temp folder serves then, although a restart of the machine may empty it.
    """
    if user_id() == 0:
        return own_directory(Path("/var/cache/test-framework"))
    home = Path(os.path.expanduser("~"))
    caches = home / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    for place in (Path(os.environ.get("XDG_CACHE_HOME", "")), caches):
        if place.is_absolute() and (place != caches or home != Path("/")):  # "/" is what an empty HOME stands for
            with contextlib.suppress(OSError):
                return own_directory(place / "test-framework")
    return own_directory(Path(tempfile.gettempdir()) / f"test-framework-cache-{user_id()}")


def user_id() -> int:
    return os.getuid() if hasattr(os, "getuid") else 1


def own_directory(path: Path) -> Path:
    """Make a folder that other users may pass through but not list, and refuse one that another user made."""
    path.mkdir(mode=PASSABLE, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        raise PermissionError(f"{path} belongs to another user; remove it, or set TMPDIR to a folder of your own")
    if stat.S_IMODE(found.st_mode) & PASSABLE != PASSABLE:
        path.chmod(PASSABLE)  # mkdir leaves out what the umask forbids, and Postgres may run as another user than we
    if not os.access(path, os.W_OK):
        raise PermissionError(f"{path} can't be written to; make it writable, or set TMPDIR to a folder that is")
    return path
