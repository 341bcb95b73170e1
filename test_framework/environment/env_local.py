"""`.env.local`, made from `.env.example`: what is empty and must be secret is filled in, what has a value is kept."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from test_framework.environment.env_files import EXAMPLE, LOCAL, compose_names, read_entries

MADE_HERE = ("APP_TOKEN_SECRET",)
ONLY_FOR_ITS_OWNER = 0o600


def make_secret() -> str:
    """Make a secret of 64 characters that needs no quoting in a .env file or a URL."""
    return secrets.token_hex(32)  # a leading dash would be an option to redis-server


def make_local(root: Path, new_secret: Callable[[], str] = make_secret) -> list[str]:
    """Make `.env.local` or complete it, and return what was done to it, one sentence each."""
    path = root / LOCAL
    existed = path.exists()
    text = (path if existed else root / EXAMPLE).read_text(encoding="utf-8")
    done = [] if existed else [f"made {LOCAL} from {EXAMPLE}"]
    have = {entry.key: entry.value for entry in read_entries(path if existed else root / EXAMPLE)}
    for key in (*MADE_HERE, *sorted(_passwords(root))):
        if not have.get(key):
            text = _with_value(text, key, new_secret())
            done.append(f"put a new secret into {key}")
    if done:
        _write(path, text)
    elif path.stat().st_mode & 0o077 and os.name == "posix":
        path.chmod(ONLY_FOR_ITS_OWNER)
        done.append(f"closed {LOCAL} to other users")
    return done


def _passwords(root: Path) -> set[str]:
    """List the passwords that the compose files ask for."""
    return {name for name in compose_names(root) if name.endswith("_PASSWORD")}


def _with_value(text: str, key: str, value: str) -> str:
    """Fill in the line `KEY=`, or add one at the end."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        name, equals, rest = line.partition("=")
        if equals and name.removeprefix("export ").strip() == key and not rest.strip(" '\""):
            lines[number] = f"{name}={value}"
            break
    else:
        lines += ["", f"{key}={value}"]
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    """Replace the file in one step, so that nobody ever sees half of it or may read it."""
    target = path.resolve()
    draft = target.with_name(f"{target.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, ONLY_FOR_ITS_OWNER)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
