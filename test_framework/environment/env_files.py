"""The .env files, held against the one schema that the service reads: the settings of the project's adapter.

`.env.example`, `.env.test` and `.env.ci` are in git and hold no secret. The first names every setting, the other two every one
that no fixture sets. `.env.local` is made from the first, stays here, and may also hold what compose asks for. Nothing else may stand in them: a misspelt key would
be ignored in silence.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args, get_origin

from dotenv.parser import parse_stream
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from test_framework.guards.source import Finding
from test_framework.project import project
from test_framework.settings import isolated_settings, variable

EXAMPLE = ".env.example"
FOR_TESTS = (".env.test", ".env.ci")
TRACKED = (EXAMPLE, *FOR_TESTS)
LOCAL = ".env.local"
MASK = "***"
PASSWORD_IN_URL = re.compile(
    r"(?<=://)([^:/@\s]*):[^@/\s]+(?=@)|((?:password|secret|token|key)=)[^&\s]+", re.IGNORECASE
)
ASKED_OF_COMPOSE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)")


@dataclass(frozen=True)
class EnvLine:
    """One line `KEY=value` of a .env file; the value is None where there is no equals sign."""

    key: str
    value: str | None
    line: int


def setting_names() -> list[str]:
    """List every setting as the environment spells it, in the order of the schema."""
    return [*_fields()]


def set_by_fixtures() -> frozenset[str]:
    """List what the fixtures set for each test: a file for tests that named it would have no effect."""
    kind = project().settings_type()
    return frozenset(variable(kind, field) for field in project().settings_of_each_test("", "", "", ""))


def secret_names() -> frozenset[str]:
    """List the settings that must never stand in git."""
    return frozenset(name for name, field in _fields().items() if field.annotation is SecretStr)


def compose_names(root: Path) -> frozenset[str]:
    """List the variables that the compose files ask for."""
    files = (root / "compose").glob("*.yml")
    return frozenset(name for file in files for name in ASKED_OF_COMPOSE.findall(file.read_text(encoding="utf-8")))


def file_for_tests(root: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Name the file with the settings that tests run the service with: one for people's machines, one for CI."""
    return root / (".env.ci" if environment.get("CI", "").lower() in {"1", "true"} else ".env.test")


def read_entries(path: Path) -> list[EnvLine]:
    """Read the entries of a .env file; what cannot be read comes back as an entry without a key."""
    with path.open(encoding="utf-8") as stream:
        bindings = list(parse_stream(stream))
    entries: list[EnvLine] = []
    for binding in bindings:
        leading = len(binding.original.string) - len(binding.original.string.lstrip("\r\n"))
        line = binding.original.line + binding.original.string[:leading].count("\n")
        if binding.key is not None or binding.error:
            entries.append(EnvLine(binding.key or "", binding.value, line))
    return entries


def check_tree(root: Path) -> list[Finding]:
    """Check the files in git, and `.env.local` where there is one."""
    absent = [Finding(name, 1, "does not exist; restore it from git") for name in TRACKED if not (root / name).exists()]
    present = [name for name in (*TRACKED, LOCAL) if (root / name).exists()]
    return [*absent, *(finding for name in present for finding in check_file(root, name))]


def check_file(root: Path, name: str) -> list[Finding]:
    """Find keys that nobody reads, values that the service refuses, and secrets that git would publish."""
    path = root / name
    entries = read_entries(path)
    faults = [*_bad_keys(entries, compose_names(root) if name == LOCAL else frozenset()), *_bad_values(path, entries)]
    if name in TRACKED:
        faults += [*_missing(entries, set_by_fixtures() if name in FOR_TESTS else frozenset()), *_published(entries)]
    if name in FOR_TESTS:
        faults += [*_without_effect(entries)]
    return sorted({Finding(name, line, reason) for line, reason in faults})


def masked(key: str, value: str) -> str:
    """Show a value without what it must not tell."""
    if key in secret_names() and value:
        return MASK
    return PASSWORD_IN_URL.sub(lambda found: f"{found[1]}:{MASK}" if found[2] is None else f"{found[2]}{MASK}", value)


def _bad_keys(entries: Iterable[EnvLine], also_known: frozenset[str]) -> Iterator[tuple[int, str]]:
    known = {*setting_names(), *also_known}
    seen: dict[str, int] = {}
    for entry in entries:
        if not entry.key or entry.value is None:
            yield entry.line, "is not KEY=value, so nothing reads it; correct it or delete it"
        elif entry.key not in known:
            near = difflib.get_close_matches(entry.key, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(setting_names())}"
            yield entry.line, f"{entry.key} is no setting, so nothing reads it; {remedy}"
        elif entry.key in seen:
            yield (
                entry.line,
                f"{entry.key} already stands in line {seen[entry.key]}, and only the last counts; keep one",
            )
        seen.setdefault(entry.key, entry.line)


def _bad_values(path: Path, entries: list[EnvLine]) -> Iterator[tuple[int, str]]:
    try:
        isolated_settings(_env_file=path)
    except ValidationError as invalid:
        for error in invalid.errors():
            reason = error["msg"].removeprefix("Value error, ")
            name = str(error["loc"][0]) if error["loc"] else ""
            kind = project().settings_type()
            key = variable(kind, name) if name in kind.model_fields else name
            yield _line_of(key, reason, entries), _refusal(key, reason, entries)


def _refusal(key: str, reason: str, entries: list[EnvLine]) -> str:
    field = _fields().get(key)
    if field is None:
        return reason
    value = next((entry.value or "" for entry in reversed(entries) if entry.key == key), "")
    allowed = f": one of {', '.join(get_args(field.annotation))}" if get_origin(field.annotation) is Literal else ""
    return f"{key}={masked(key, value)}: {reason[0].lower()}{reason[1:]}; it is {field.description}{allowed}"


def _line_of(key: str, reason: str, entries: list[EnvLine]) -> int:
    """Find the line that a refusal is about: its key's, or that of a key which the reason names."""
    about = [entry.line for entry in entries if entry.key and (entry.key == key or entry.key in reason)]
    return about[-1] if about else 1


def _without_effect(entries: Iterable[EnvLine]) -> Iterator[tuple[int, str]]:
    needless = set_by_fixtures()
    for entry in entries:
        if entry.key in needless:
            yield entry.line, f"{entry.key} has no effect here, since each test has its own; delete it"


def _missing(entries: Iterable[EnvLine], needless: frozenset[str]) -> Iterator[tuple[int, str]]:
    here = {entry.key for entry in entries} | needless
    for name, declared in _fields().items():
        if name not in here:
            yield 1, f"{name} is missing; add it with a line on what it does: {declared.description}"


def _published(entries: Iterable[EnvLine]) -> Iterator[tuple[int, str]]:
    secret = secret_names()
    for entry in entries:
        if entry.value and (entry.key in secret or masked(entry.key, entry.value) != entry.value):
            yield entry.line, f"{entry.key} holds a secret, and this file is in git; empty it here, set it in {LOCAL}"


def _fields() -> dict[str, FieldInfo]:
    """The settings by the names that the environment has for them."""
    kind = project().settings_type()
    return {variable(kind, name): field for name, field in kind.model_fields.items()}
