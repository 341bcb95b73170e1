"""What a user may answer.

The answers end up in TOML, Markdown, container names and package metadata. Whatever would break one of these later is
refused now, by naming the field, the reason and an example that works: all faults at once, as nobody likes to answer
twice.
"""

from __future__ import annotations

import keyword
import re
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

CHOICES = {
    "license": ("MIT", "Apache-2.0", "BSD-3-Clause", "Proprietary"),
    "lowest_python": ("3.12", "3.11", "3.13"),
    "ci_provider": ("github", "none"),
    "example": ("agents", "none"),
}
LONGEST = {"project_name": 60, "project_slug": 40, "description": 160, "author": 80}
EXAMPLES = {
    "project_name": "Order Desk",
    "project_slug": "order-desk",
    "description": "Takes orders and says where they are",
    "author": "Zoë Müller-Østergård",
    **{field: choices[0] for field, choices in CHOICES.items()},
}

PUNCTUATION = frozenset(" '\u2019.,:;!?&@#%+/_()-\u2013\u2014")
SLUG = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
OUR_PACKAGES = frozenset({"app", "commitstream", "noxfile", "tasks", "test_framework", "tests"})
YAML_WORDS = frozenset({"false", "n", "no", "null", "off", "on", "true", "y", "yes"})
WINDOWS_DEVICES = frozenset({"aux", "con", "nul", "prn", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})


@dataclass(frozen=True)
class Answers:
    """One user's answers, as the scaffold uses them."""

    project_name: str
    project_slug: str
    description: str
    author: str
    license: str
    lowest_python: str
    ci_provider: str
    example: str

    @classmethod
    def of(cls, context: Mapping[str, object]) -> Answers:
        """Take the answers out of what cookiecutter knows; what it doesn't know is empty."""
        return cls(**{field.name: str(context.get(field.name, "")) for field in fields(cls)})


def faults(answers: Answers, libraries: Collection[str] = ()) -> list[str]:
    """Say what is wrong with the answers, one line per fault; `libraries` are names that a project can't take."""
    found: list[str] = []
    for field in ("project_name", "description", "author"):
        found += _told(field, answers, _faults_of_text(getattr(answers, field), LONGEST[field]))
    found += _told("project_slug", answers, _faults_of_slug(answers.project_slug, libraries))
    for field, choices in CHOICES.items():
        if getattr(answers, field) not in choices:
            found += _told(field, answers, [f"it is one of {', '.join(choices)}"])
    return found


def _told(field: str, answers: Answers, reasons: Iterable[str]) -> Iterator[str]:
    return (f"{field} {getattr(answers, field)[:60]!a}: {reason}. For example: {EXAMPLES[field]}" for reason in reasons)


def _faults_of_text(text: str, longest: int) -> Iterator[str]:
    if not text.strip():
        yield "it is empty"
        return
    if len(text) > longest:
        yield f"it has {len(text)} characters, {longest} is the limit"
    if text != text.strip():
        yield "it starts or ends with a blank"
    elif not text[0].isalnum():
        yield "it must start with a letter or a digit"
    if refused := sorted({character for character in text if not _is_plain(character)}):
        yield f"it may not hold {', '.join(map(_spoken, refused[:5]))}"


def _is_plain(character: str) -> bool:
    if character in PUNCTUATION:
        return True
    if "\ufe00" <= character <= "\ufe0f":  # these turn a letter or a digit into an emoji
        return False
    return unicodedata.category(character) in {"Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Mn", "Nd"}


def _spoken(character: str) -> str:
    name = unicodedata.name(character, f"U+{ord(character):04X}")
    return f"{character} ({name})" if character.isascii() and character.isprintable() else name


def _faults_of_slug(slug: str, libraries: Collection[str]) -> Iterator[str]:
    if len(slug) > LONGEST["project_slug"]:
        yield f"it has {len(slug)} characters, {LONGEST['project_slug']} is the limit"
    if not SLUG.fullmatch(slug):
        yield (
            "it names a folder, a Python distribution and containers, so it is made of lower-case words (a-z, 0-9) "
            "joined by single - or _, and starts with a letter"
        )
        return
    module = slug.replace("-", "_")
    if keyword.iskeyword(module) or module in {"true", "false", "none"}:
        yield "it is a Python keyword"
    elif module in sys.stdlib_module_names:
        yield "it is a module of Python's standard library"
    elif module in OUR_PACKAGES:
        yield f"the project has a folder or a file called {module} inside"
    elif module in YAML_WORDS:
        yield "YAML reads it as something other than a name"
    elif module in WINDOWS_DEVICES:
        yield "Windows can't have a folder of that name"
    elif module in {library.replace("-", "_") for library in libraries}:
        yield "it is the name of a library that the project installs"
