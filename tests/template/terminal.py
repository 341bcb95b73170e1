"""A command on a pseudo-terminal, and a person who answers its prompts."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

CURSOR_QUERY = b"\x1b[6n"
CURSOR_ANSWER = b"\x1b[1;1R"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r")
CLEAR_LINE = "\x15"
ENTER = "\r"


def on_terminal(
    command: str, *, cwd: Path, env: Mapping[str, str], dialogue: Sequence[tuple[str, str]] = (), timeout: float = 120
) -> tuple[int, str]:
    """Run a shell command on a terminal, and return its exit code and its output without escape sequences.

    Each entry of `dialogue` is a text to wait for and the keys to press then.
    """
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=cwd, env={**env, "TERM": "xterm"}, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    deadline = time.monotonic() + timeout
    raw, read_up_to, waiting = b"", 0, list(dialogue)
    try:
        while chunk := _read(master, deadline, waiting):
            raw += chunk
            if CURSOR_QUERY in chunk:
                os.write(master, CURSOR_ANSWER)
            shown = ESCAPES.sub("", raw.decode(errors="replace"))
            while waiting and (found := shown.find(waiting[0][0], read_up_to)) >= 0:
                read_up_to = found + len(waiting[0][0])
                os.write(master, waiting.pop(0)[1].encode())
        return process.wait(max(1.0, deadline - time.monotonic())), ESCAPES.sub("", raw.decode(errors="replace"))
    except TimeoutError as error:
        raise TimeoutError(f"{command}: {error}; it printed:\n{raw.decode(errors='replace')}") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(master)


def _read(master: int, deadline: float, waiting: Sequence[tuple[str, str]]) -> bytes:
    ready, _, _ = select.select([master], [], [], max(0.0, deadline - time.monotonic()))
    if not ready:
        raise TimeoutError(f"no end in time, still expected: {[text for text, _ in waiting]}")
    try:
        return os.read(master, 65536)
    except OSError:  # Linux reports the end of the other side as an error
        return b""
