"""The only file that knows pytest's hooks; it wires the kit's rooms into a run."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from test_framework.modes import FOLDERS, KIT, NEEDS, VARIABLE, WHAT_IS_REAL, Mode, chosen, modes_of

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from test_framework.service_pool import ServicePool

pytest_plugins = ["test_framework.fixtures"]

MODE = pytest.StashKey[Mode]()
LEFT_OUT = pytest.StashKey[Counter[str]]()
POOL = pytest.StashKey["ServicePool | None"]()
RUN = "service_pool_run"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("modes")
    group.addoption("--mode", default=None, help=f"what is real: {', '.join(Mode)} (or {VARIABLE}=…)")
    group.addoption("--without-model", action="store_true", help="in full: don't ask for a real model")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if sys.flags.optimize:
        raise pytest.UsageError(
            "Python drops asserts under -O and PYTHONOPTIMIZE, so nothing here could fail: unset it"
        )
    try:
        config.stash[MODE] = chosen(config.getoption("--mode"))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[LEFT_OUT] = Counter()
    config.stash[POOL] = None


def pytest_report_header(config: pytest.Config) -> str:
    mode = config.stash[MODE]
    return f"mode: {mode} (real: {WHAT_IS_REAL[mode]})"


# >>> template only
def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Stamping is tested in a session of its own, with packages that no other has."""
    away = config.stash[MODE] is not Mode.TEMPLATE and folder_of(collection_path, config.rootpath) == "template"
    return True if away else None


# <<< template only
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this mode can't run, and count it, so that nothing is missing in silence."""
    mode = config.stash[MODE]
    staying, leaving = [], []
    for item in items:
        folder = folder_of(item.path, config.rootpath)
        if folder not in FOLDERS:
            raise pytest.UsageError(f"no mode runs {item.nodeid}: put it in one of {', '.join(FOLDERS)}")
        if mode in modes_of(folder, of_the_kit=item.path.is_relative_to(config.rootpath / KIT)):
            staying.append(item)
        else:
            leaving.append(item)
            config.stash[LEFT_OUT][folder] += 1
    if leaving:
        config.hook.pytest_deselected(items=leaving)
        items[:] = staying


def folder_of(path: Path, root: Path) -> str:
    """The folder whose name says what a test needs: the one below `tests`."""
    parts = path.relative_to(root).parts if path.is_relative_to(root) else ()
    below = parts[parts.index("tests") + 1 :] if "tests" in parts else ()
    return below[0] if below else ""


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    mode = config.stash[MODE]
    for folder, count in sorted(config.stash[LEFT_OUT].items()):
        others = " or ".join(f"nox -s {other}" for other in Mode if other in FOLDERS[folder])
        terminalreporter.write_line(
            f"not run in {mode}: {count} tests of {folder}/, which need {NEEDS.get(folder, 'more')}: {others}"
        )
    if mode is Mode.FULL and config.getoption("--without-model"):
        terminalreporter.write_line("not run in full: a real model, as --without-model asked")
    pool = config.stash[POOL]
    if pool is not None:
        for name, seconds in pool.statistics.started.items():
            terminalreporter.write_line(f"started {name} in {seconds * 1000:.0f} ms")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tell an xdist worker which run's services it shares."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    node.workerinput[RUN] = pool_of(config).run  # type: ignore[attr-defined]


def pool_of(config: pytest.Config) -> ServicePool:
    """The services of this run: owned by the controller, shared by its workers, started by the first who asks."""
    pool = config.stash[POOL]
    if pool is None:
        from test_framework.service_pool import ServicePool

        worker: dict[str, str] | None = getattr(config, "workerinput", None)
        if worker is not None:
            pool = ServicePool.join(worker[RUN])
        else:
            pool = ServicePool()
            pool.begin()
        config.stash[POOL] = pool
    return pool


@pytest.fixture(scope="session")
def mode(pytestconfig: pytest.Config) -> Mode:
    """What is real in this run."""
    return pytestconfig.stash[MODE]


@pytest.fixture(scope="session")
def pool(pytestconfig: pytest.Config) -> ServicePool:
    """The services of this run; each starts when it is first asked for."""
    return pool_of(pytestconfig)


@pytest.fixture(autouse=True, scope="session")
def _no_network_in_lightweight(mode: Mode) -> Iterator[None]:
    if mode is not Mode.LIGHTWEIGHT:
        yield
        return
    from test_framework.guards.network import loopback_only

    with loopback_only():
        yield


def pytest_unconfigure(config: pytest.Config) -> None:
    pool = config.stash.get(POOL, None)
    if pool is not None and pool.owner:
        pool.stop_all()
