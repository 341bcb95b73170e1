"""The token secret in dev: stored in `.data`, so that tokens survive restarts."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from commitstream.settings import guessable

NAME = "dev-token-secret"  # pragma: allowlist secret


def kept_secret(folder: Path) -> str:
    """Return the secret of a folder, made if missing; empty where it can't be stored."""
    file = folder / NAME
    try:
        if not _usable(file):
            folder.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            _make(file)
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""  # the settings then make one for this process


def _usable(file: Path) -> bool:
    """Return whether a file has a secret that only its owner can read."""
    private = file.is_file() and not file.stat().st_mode & 0o077
    return (private or os.name == "nt") and file.is_file() and not guessable(file.read_text(encoding="utf-8"))


def _make(file: Path) -> None:
    """Write a new secret; a process that starts at the same time reads all of it or nothing."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f"{NAME}-")  # readable by its owner alone
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(secrets.token_urlsafe(48))
        with suppress(FileExistsError):
            os.link(name, file)
    finally:
        Path(name).unlink(missing_ok=True)
