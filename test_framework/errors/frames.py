"""Whose a line of code is: the test's, the kit's, the app's or a library's; and how a text is made fit to be kept."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType, TracebackType

from test_framework import CHECKOUT, SERVICE
from test_framework.errors.failure import Frame, Owner

OURS_KEPT, LIBRARIES_KEPT = 8, 3
LONGEST = 700
_LIBRARY = re.compile(r".*[/\\](?:site-packages|dist-packages|lib[/\\]python3\.\d+)[/\\]")
_CLEANED = (
    (re.compile(r"(?:/[\w.-]+)+/test-framework-\w+/[\w.-]+"), "<run>"),
    (re.compile(r"(://[^\s:/@]*:)[^\s/@]+@"), r"\1***@"),
    (re.compile(r"(?i)\b(\w*(?:password|passwd|secret|token|api_?key)\w*['\"]?\s*[=:]\s*['\"]?)(?=\S*[\d_-])[^\s'\",)]{8,}"), r"\1***"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"), "***"),
)  # fmt: skip


class Places:
    """Where the project, the kit and Python lie on this machine; what is kept names none of it."""

    def __init__(self, root: Path) -> None:
        self.roots = [root.resolve(), *([CHECKOUT] if root.resolve() != CHECKOUT else [])]
        python = Path(sysconfig.get_path("stdlib")).parent
        home = os.path.expanduser("~")
        homes = {tempfile.gettempdir(): "<tmp>", str(python): "<python>"}
        if sys.prefix != sys.base_prefix:  # a virtual environment, wherever it lies
            homes[sys.prefix] = "<env>"
        if len(Path(home).parts) > 1:  # an empty HOME, or an account without one, is the root folder of every path
            homes[home] = "~"
        self._names = {**{f"{place}/": "" for place in self.roots}, **homes}

    def frame(self, file: str, line: int, function: str) -> Frame:
        relative, owner = self.of(file)
        return Frame(relative, line, function, owner)

    def of(self, file: str) -> tuple[str, Owner]:
        """Tell a file's name within what it belongs to, and whose it is."""
        if _LIBRARY.match(file):
            return _LIBRARY.sub("", file, count=1).replace("\\", "/"), "library"
        path = Path(file)
        for root in self.roots:
            if path.is_relative_to(root):
                relative = path.relative_to(root)
                return relative.as_posix(), owner_of(relative)
        return path.name, "library"

    def clean(self, text: str, longest: int = LONGEST) -> str:
        """Take out secrets and this machine's folders, and keep beginning and end of what is long."""
        for pattern, instead in _CLEANED:
            text = pattern.sub(instead, text)
        for folder, name in self._names.items():
            text = text.replace(folder, name)
        return text if len(text) <= longest else f"{text[: longest * 2 // 3]} … {text[-longest // 3 :]}"


def owner_of(relative: Path) -> Owner:
    """Whose a file of the project is."""
    if "tests" in relative.parts or (relative.name.startswith("test_") and len(relative.parts) == 1):
        return "test"
    if relative.name == "conftest.py":
        return "test"
    return "app" if relative.parts and relative.parts[0] in SERVICE else "kit"


def of_traceback(trace: TracebackType | None, places: Places) -> tuple[Frame, ...]:
    """Return the frames worth keeping: the innermost of ours, and the last few of libraries."""
    return kept(
        [
            places.frame(frame.f_code.co_filename, line, frame.f_code.co_name)
            for frame, line in traceback.walk_tb(trace)
            if not hidden(frame)
        ]
    )


def hidden(frame: FrameType) -> bool:
    return "__tracebackhide__" in frame.f_locals or "/_pytest/" in frame.f_code.co_filename.replace("\\", "/")


def kept(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    ours = [place for place, frame in enumerate(frames) if frame.owner != "library"][-OURS_KEPT:]
    libraries = [place for place, frame in enumerate(frames) if frame.owner == "library"]
    each = {frames[place].file.partition("/")[0]: place for place in libraries}  # the last line of every library
    last = [*libraries[-LIBRARIES_KEPT:], *list(each.values())[-LIBRARIES_KEPT * 2 :]]
    return tuple(frames[place] for place in sorted({*ours, *last}))


def innermost(frames: Iterable[Frame], *owners: Owner) -> Frame | None:
    """Return the last frame that belongs to one of these."""
    return next((frame for frame in reversed(list(frames)) if frame.owner in owners), None)
