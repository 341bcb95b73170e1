"""Every module can be the first that is imported; a cycle and a forgotten import are found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from test_framework import CHECKOUT
from test_framework.proving import imports

FOLDERS = ("app", "commitstream", "test_framework", "tests")
PLANTED = {
    "a cycle": (
        {"one.py": "from app.two import b\na = 1\n", "two.py": "from app.one import a\nb = 2\n"},
        ["app.one can't be imported first: ImportError: ", "app.two can't be imported first: ImportError: "],
    ),
    "a cycle that one end bears": (
        {"one.py": "import app.two\na = 1\n", "two.py": "from app.one import a\n"},
        ["app.one can't be imported first: ImportError: "],
    ),
    "a forgotten import": (
        {"user.py": "import app\nvalue = app.helper.value\n", "helper.py": "value = 1\n"},
        ["app.user can't be imported first: AttributeError: ", "app/user.py:2"],
    ),
    "an end": ({"ends.py": "raise SystemExit(0)\n"}, ["app.ends can't be imported first: SystemExit: 0"]),
    "nothing to import": ({}, ["imports: 0 modules"]),
}
HARMLESS = {
    "no cycle": {"one.py": "from app.two import b\na = b\n", "two.py": "b = 2\n"},
    "a cycle at a later time": {
        "one.py": "from app import two\na = 1\n",
        "two.py": "def b():\n    from app.one import a\n",
    },
    "every import": {"user.py": "import app.helper\nvalue = app.helper.value\n", "helper.py": "value = 1\n"},
    "scripts of alembic": {
        "db/script.py.mako": "",
        "db/env.py": "raise LookupError\n",
        "db/a.py": "1 / 0\n",
        "one.py": "",
    },
}


def imported(root: Path, *folders: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Import each module of these folders first, as a process."""
    command = [sys.executable, "-P", imports.__file__, *folders]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=timeout, check=False)


def plant(root: Path, files: dict[str, str]) -> None:
    for name, text in {"__init__.py": "", **files}.items() if files else ():
        file = root / "app" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("files", "said"), PLANTED.values(), ids=PLANTED)
def test_what_can_not_be_imported_first_is_named(tmp_path: Path, files: dict[str, str], said: list[str]) -> None:
    plant(tmp_path, files)

    ended = imported(tmp_path, "app")

    assert ended.returncode == 1, ended.stderr
    assert [words for words in said if words not in ended.stdout] == [], ended.stdout


@pytest.mark.parametrize("files", HARMLESS.values(), ids=HARMLESS)
def test_what_can_be_imported_in_any_order_passes(tmp_path: Path, files: dict[str, str]) -> None:
    plant(tmp_path, files)

    ended = imported(tmp_path, "app")

    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.timeout(500)
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_module_of_the_project_can_be_imported_first(folder: str) -> None:
    ended = imported(CHECKOUT, folder, timeout=480)

    assert ended.returncode == 0, ended.stdout + ended.stderr
