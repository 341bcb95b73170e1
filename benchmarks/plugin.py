"""What the kit costs before the first test: collecting an empty file, against pytest with asyncio and xdist alone

Every turn is a fresh `pytest --collect-only`, of modules that are compiled already, as `nox` runs tests. The peer loads just those two plugins; ours loads everything that this repository loads.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

from app.settings import ROOT
from benchmarks.measure import Row, take_turns

BAR = 1.3
TURNS = 15
INI = "[pytest]\nasyncio_default_fixture_loop_scope = session\n"
BARE = ("-p", "pytest_asyncio.plugin", "-p", "xdist.plugin", "-p", "xdist.looponfail")
NOT_OURS = ("-p", "no:pytest_postgresql", "-p", "no:pytest_redis")  # peers that only this environment holds
NOT_GIVEN = ("PYTEST", "TEST_", "PYTHONDONTWRITEBYTECODE")
HEAVIEST = 6


def run() -> list[Row]:
    """Collect an empty file again and again, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "tests", "unit", "test_empty.py")
        file.parent.mkdir(parents=True)
        file.write_text("def test_nothing(): ...\n")
        Path(folder, "pytest.ini").write_text(INI)
        options = _options_of_this_repository()
        contenders = {"ours": partial(_measured, folder, options), "bare": partial(_measured, folder, BARE, plain=True)}
        found = asyncio.run(take_turns(contenders, TURNS))
    return [
        Row.within("collecting one empty file, and bare pytest", found["ours"], found["bare"], "s", BAR),
        *(Row(f"  importing {name}", f"{milliseconds:.0f} ms") for name, milliseconds in _heaviest()),
    ]


def _options_of_this_repository() -> tuple[str, ...]:
    import tomllib

    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    return (*options["addopts"], *NOT_OURS, "-p", "test_framework.plugin")


def _environment(*, plain: bool) -> dict[str, str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith(NOT_GIVEN)}
    return {**given, "PYTHONPATH": str(ROOT), **({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} if plain else {})}


async def _measured(folder: str, options: Sequence[str], *, plain: bool = False) -> float:
    return await asyncio.to_thread(_collect, folder, options, plain=plain)


def _collect(folder: str, options: Sequence[str], *, plain: bool = False) -> float:
    began = perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *options, "tests"],
        cwd=folder,
        env=_environment(plain=plain),
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=60,
    )
    return perf_counter() - began


def _heaviest() -> list[tuple[str, float]]:
    """Which modules of ours take longest to import, without what they import in turn."""
    imports = "import pytest, xdist.plugin, pytest_asyncio.plugin, test_framework.plugin"
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "importtime",
            "-c",
            f"{imports}, test_framework.fixtures, test_framework.isolation.fixtures",
        ],
        cwd=ROOT,
        env=_environment(plain=True),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    own: dict[str, float] = {}
    for line in done.stderr.splitlines():
        name = line.rpartition("|")[2].strip()
        if name.startswith("test_framework"):
            own[name] = int(line.split("|")[1]) / 1000
    return sorted(own.items(), key=lambda found: -found[1])[:HEAVIEST]
