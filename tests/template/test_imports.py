"""Every module of the scaffold can be imported first; those of a project are imported in `nox -s kit`."""

from __future__ import annotations

import subprocess
import sys

from test_framework import CHECKOUT
from test_framework.proving import imports


def test_every_module_of_the_scaffold_can_be_imported_first() -> None:
    command = [sys.executable, "-P", imports.__file__, "cos_scaffold"]

    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=25, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
