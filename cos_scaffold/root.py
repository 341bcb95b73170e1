"""Tell the hooks where the template's checkout is.

A hook is rendered into a temporary file and run from there, so it can't find its template by itself, and what
cookiecutter says about it differs between its commands and is absent under cruft. An extension is imported from the
checkout under all of them: it knows.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment
from jinja2.ext import Extension


class TemplateRoot(Extension):
    """The Jinja global `template_root`: the folder that holds cookiecutter.json."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals["template_root"] = str(Path(__file__).resolve().parents[1])
