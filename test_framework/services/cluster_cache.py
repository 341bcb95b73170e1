"""An initialised Postgres data directory, made once for a version and a machine and copied for whoever needs a new one.

`initdb` takes half a second, a copy in memory a few milliseconds. As root, which Postgres refuses to be, it runs as `nobody`,
from binaries and in folders that `nobody` can reach.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from test_framework import CHECKOUT
from test_framework.services.accounts import Account, server_account, server_environment
from test_framework.services.diagnosis import diagnose
from test_framework.services.gate import held
from test_framework.services.stack import cache_root, own_directory
from test_framework.services.state import ServiceError

if TYPE_CHECKING:
    from filelock import BaseFileLock

DATABASE = "app"
INITDB = (
    *("--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C"),
    *("--no-sync", "--no-instructions", "--wal-segsize=4"),
)
INITDB_SECONDS = 60
PACKAGES = ("site-packages", "dist-packages")


def reachable_binaries(postgres: Path) -> Path:
    """Return these binaries, or a copy of them if the account that Postgres runs as could not reach them."""
    postgres = postgres.resolve()
    if server_account().user is None or all(parent.stat().st_mode & 0o001 for parent in postgres.parents):
        return postgres
    root, belongings = belongings_of(postgres)
    copy = cache_root() / "binaries" / fingerprint(postgres, *(str(folder.relative_to(root)) for folder in belongings))
    with lock(copy):
        if not copy.exists():
            draft = copy.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            for folder in belongings:
                place = draft / folder.relative_to(root)
                shutil.copytree(folder, place, ignore=shutil.ignore_patterns("include", "*.a"), symlinks=True)
            for path in (draft, *draft.rglob("*")):
                if not path.is_symlink():  # their own modes are those of the umask they were installed under
                    path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            draft.rename(copy)
    return copy / postgres.relative_to(root)


def belongings_of(postgres: Path) -> tuple[Path, list[Path]]:
    """The folders that these binaries can't do without, and the one that they find each other from.

    A wheel keeps the libraries that it brings along beside its package: `package.libs`.
    """
    installation = postgres.parents[1]
    packages = next((folder for folder in postgres.parents if folder.name in PACKAGES), None)
    if packages is None:
        return installation, [installation]
    libraries = packages / f"{postgres.relative_to(packages).parts[0]}.libs"
    return packages, [installation, *([libraries] if libraries.is_dir() else [])]


def copy_cluster(postgres: Path, target: Path) -> None:
    """Make an initialised data directory at `target`, which must not exist."""
    draft = target.with_name(f"{target.name}.draft")
    for last_try in (False, True):
        shutil.rmtree(draft, ignore_errors=True)
        source = initialised_cluster(postgres)
        try:
            run(["cp", "-Rp", str(source), str(draft)], "copying an initialised data directory")
            break
        except ServiceError:
            if last_try or source.exists():  # else `clean.all` took the cache away under our hands
                shutil.rmtree(draft, ignore_errors=True)
                raise
    draft.rename(target)


def initialised_cluster(postgres: Path) -> Path:
    """Return the cached data directory for this very Postgres, and make it if this is the first time."""
    cluster = cache_root() / "clusters" / fingerprint(postgres, *INITDB, DATABASE)
    if cluster.exists() and used_by(cluster).exists():
        return cluster
    with lock(cluster):
        if not cluster.exists():
            draft = cluster.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(mode=0o700)
            server_account().own(draft)
            run([str(postgres.with_name("initdb")), f"--pgdata={draft}", *INITDB], "initialising Postgres")
            single = [str(postgres), "--single", "-F", "-D", str(draft), "postgres"]
            run(single, "making the first database", f"CREATE DATABASE {DATABASE}\n")
            draft.rename(cluster)
        mark_used(cluster)
    return cluster


def cached() -> Iterator[Path]:
    """Yield what is cached for the checkouts of this account."""
    for name in ("clusters", "binaries"):
        for entry in sorted((cache_root() / name).glob("*")):
            if entry.is_dir() and not entry.suffix:
                yield entry


def used_by(entry: Path, checkout: Path = CHECKOUT) -> Path:
    """Return the file that says that a checkout uses a cache entry."""
    return entry.with_suffix(".users") / hashlib.sha256(str(checkout.resolve()).encode()).hexdigest()[:8]


def mark_used(entry: Path) -> None:
    """Write down that this checkout uses a cache entry, whose lock is held."""
    mark = used_by(entry)
    mark.parent.mkdir(exist_ok=True)
    for other in mark.parent.iterdir():
        if not is_of_a_checkout(other):
            other.unlink()
    mark.write_text(str(CHECKOUT.resolve()), encoding="utf-8")


def drop(entry: Path, checkout: Path = CHECKOUT) -> bool:
    """Give up a checkout's use of a cache entry, and remove what no other checkout uses; say whether it was removed."""
    with lock(entry):
        used_by(entry, checkout).unlink(missing_ok=True)
        if used_by_others(entry, checkout):
            return False
        shutil.rmtree(entry, ignore_errors=True)
        shutil.rmtree(entry.with_suffix(".users"), ignore_errors=True)
        return True


def used_by_others(entry: Path, checkout: Path = CHECKOUT) -> bool:
    """Say whether another checkout that still exists uses an entry, or whether nothing is known about its users."""
    users = entry.with_suffix(".users")
    if not users.is_dir():
        return True
    return any(is_of_a_checkout(mark) for mark in users.iterdir() if mark != used_by(entry, checkout))


def is_of_a_checkout(mark: Path) -> bool:
    """Say whether the checkout that left a mark still exists."""
    with contextlib.suppress(FileNotFoundError):
        return Path(mark.read_text(encoding="utf-8")).exists()
    return False


def fingerprint(binary: Path, *more: str) -> str:
    """A name for this very program, wherever it lies: every virtual environment brings the same one along."""
    with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        words = (str(len(content)), str(zlib.crc32(content)), str(server_account().user), *more)
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]


def lock(path: Path) -> BaseFileLock:
    from filelock import FileLock

    own_directory(path.parent)
    return FileLock(path.with_suffix(".lock"), timeout=INITDB_SECONDS)


def run(command: list[str], purpose: str, text: str = "") -> None:
    account = server_account() if command[0] != "cp" else Account()
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        env=server_environment(),
        cwd="/",
        timeout=INITDB_SECONDS,
        check=False,
        pass_fds=held(),
        **account.popen_options(),  # type: ignore[call-overload]
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        last = said.splitlines()[-1] if said else f"exit code {done.returncode}"
        known = diagnose(said, "postgres")
        raise ServiceError(
            purpose, f"{known.why} ({last})" if known else last, known.next_command if known else "invoke doctor"
        )
