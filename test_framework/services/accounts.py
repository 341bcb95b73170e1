"""Whom a server that we start runs as, and what it sees of our environment."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Account:
    """Whom a server runs as: ourselves, or `nobody` when we are root."""

    user: int | None = None
    group: int | None = None

    def own(self, path: Path) -> None:
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group)

    def popen_options(self) -> dict[str, int | list[int]]:
        if self.user is None or self.group is None:
            return {}
        return {"user": self.user, "group": self.group, "extra_groups": []}


@functools.cache
def server_account() -> Account:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return Account()
    import pwd

    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def server_environment() -> dict[str, str]:
    """Return what a server may see of our environment: no PG* variable that would change its mind."""
    kept = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C", "TZ": "UTC"}
