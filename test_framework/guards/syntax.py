"""Every file says what its author wrote: YAML, TOML and JSON parse, and no text holds what an editor, a merge or a wrong
encoding left in it. Ruff parses the Python files, as the `target-version` of pyproject.toml would read them.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

import yaml

from test_framework.guards.source import Finding, Guard, Source, words

TEXT = words(".cfg .css .env .html .in .ini .js .json .lock .mako .md .py .pyi .sh .sql .toml .txt .yaml .yml")
MERGE_MARKER = re.compile(rb"^(?:<{7}|>{7}|\|{7}) ", re.MULTILINE)


def concerns(path: PurePosixPath) -> bool:
    """Concern text: by its suffix, or because it is one of the .env files."""
    return path.suffix in TEXT or path.name.startswith(".env")


def check(files: Sequence[Source]) -> list[Finding]:
    """Find files that do not parse or that hold what their author did not write."""
    return [finding for source in files for finding in _check_file(source)]


def _check_file(source: Source) -> Iterator[Finding]:
    yield from (Finding(source.path, line, message) for line, message in _damage(source.content))
    try:
        source.content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = _line_at(source.content, error.start)
        byte = source.content[error.start]
        yield Finding(source.path, line, f"byte 0x{byte:02x} is not UTF-8, so this is no text; save it as UTF-8")
        return
    for line, wrong, right in mojibake(source.text):
        why = f"mojibake {wrong!r}: UTF-8 was read in another encoding and saved; write {right!r}"
        yield Finding(source.path, line, why)
    parse = PARSERS.get(source.pure_path.suffix)
    if parse is not None and "{{" not in source.path:
        yield from (Finding(source.path, line, message) for line, message in parse(source))


def _damage(content: bytes) -> Iterator[tuple[int, str]]:
    if content.startswith(b"\xef\xbb\xbf"):
        yield (
            1,
            "begins with a byte order mark, which shells and parsers trip over; save it as UTF-8 without one",
        )
    if (null := content.find(b"\0")) >= 0:
        yield _line_at(content, null), "holds a null byte, so it is no text; restore it from git"
    for marker in MERGE_MARKER.finditer(content):
        yield _line_at(content, marker.start()), "holds a merge marker, so both sides are in it; finish the merge"


def _line_at(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1


Fault = tuple[int, str]


def toml_faults(source: Source) -> Iterator[Fault]:
    """Find where TOML stops being TOML."""
    try:
        tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        yield int(line.group(1)) if line else 1, f"is no TOML: {error}; correct it"


def json_faults(source: Source) -> Iterator[Fault]:
    """Find where JSON stops being JSON."""
    try:
        json.loads(source.text)
    except json.JSONDecodeError as error:
        yield error.lineno, f"is no JSON: {error.msg}; correct it"


def yaml_faults(source: Source) -> Iterator[Fault]:
    """Find where YAML stops being YAML; tags are not resolved, because compose brings its own."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for _ in yaml.compose_all(source.text, Loader=loader):
            pass
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        yield line, f"is no YAML: {error.problem}; correct it"
    except yaml.YAMLError as error:
        yield 1, f"is no YAML: {error}; correct it"


PARSERS: dict[str, Callable[[Source], Iterator[Fault]]] = {
    ".toml": toml_faults,
    ".json": json_faults,
    ".yaml": yaml_faults,
    ".yml": yaml_faults,
}


def _as_characters(encoding: str) -> list[str]:
    """List what each byte looks like in an encoding; bytes it leaves undefined pass as they are."""
    shown = [bytes([byte]).decode(encoding, errors="replace") for byte in range(256)]
    return [chr(byte) if character == "\ufffd" else character for byte, character in enumerate(shown)]


def _mojibake_pattern(characters: list[str]) -> re.Pattern[str]:
    """Match UTF-8 sequences as an encoding shows them; of the two-byte ones only Latin-1 letters, the likely damage."""

    def one_of(start: int, stop: int) -> str:
        return f"[{re.escape(''.join(characters[start:stop]))}]"

    follow = one_of(0x80, 0xC0)
    leads = (one_of(0xC2, 0xC4) + follow, one_of(0xE0, 0xF0) + follow * 2, one_of(0xF0, 0xF5) + follow * 3)
    return re.compile("|".join(leads))


MISREAD_AS = {name: _as_characters(name) for name in ("cp1252", "mac_roman")}
MOJIBAKE = {name: _mojibake_pattern(characters) for name, characters in MISREAD_AS.items()}


def mojibake(text: str) -> Iterator[tuple[int, str, str]]:
    """Find text that was UTF-8, was read in another encoding and saved: its line, what stands there, what was meant."""
    if text.isascii():
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.isascii():
            continue
        for encoding, pattern in MOJIBAKE.items():
            for match in pattern.finditer(line):
                meant = _reread(match.group(), MISREAD_AS[encoding])
                if meant is not None:
                    yield number, match.group(), meant


def _reread(wrong: str, characters: list[str]) -> str | None:
    try:
        return bytes(characters.index(character) for character in wrong).decode("utf-8")
    except UnicodeDecodeError:
        return None


GUARD = Guard("syntax", concerns, check)
