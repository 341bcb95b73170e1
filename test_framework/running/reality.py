"""What is real in a run: its mode, and the services that its processes share.

The controller owns the services and tells its workers by which name they join; whoever asks first starts one, and they end before
the summary, which tells of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from test_framework.modes import Mode
from test_framework.running.needs import requires

if TYPE_CHECKING:
    from test_framework.service_pool import ServicePool
    from test_framework.services.statistics import Share

MODE = pytest.StashKey[Mode]()
POOL = pytest.StashKey["ServicePool | None"]()
SHARE = pytest.StashKey["Share"]()
RUN = "service_pool_run"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tell an xdist worker which run's services it shares."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    if config.stash[MODE] is not Mode.LIGHTWEIGHT:
        pool = pool_of(config)
        pool.shared = True
        node.workerinput[RUN] = pool.run  # type: ignore[attr-defined]


def pool_of(config: pytest.Config) -> ServicePool:
    """The services of this run: owned by the controller, shared by its workers, started by the first who asks."""
    pool = config.stash[POOL]
    if pool is None:
        if config.stash[MODE] is Mode.LIGHTWEIGHT:
            raise RuntimeError("lightweight starts no service: have the test say needs(…), or move it to integration/")
        from test_framework.running.watched_run import guards_of
        from test_framework.service_pool import ServicePool

        worker: dict[str, str] | None = getattr(config, "workerinput", None)
        if worker is not None:
            pool = ServicePool.join(worker[RUN], worker=worker["workerid"])
        else:
            pool = ServicePool()
            with guards_of(config).of_the_run("the services"):
                pool.begin()
        pool.around = lambda: guards_of(config).of_the_run("the services")
        config.stash[POOL] = pool
    return pool


def share_of(config: pytest.Config) -> Share:
    """What this process, and in the controller all workers, did with the services."""
    from test_framework.services.statistics import Share

    return config.stash.setdefault(SHARE, Share())


@pytest.fixture(scope="session")
def service_share(pytestconfig: pytest.Config) -> Share:
    """Where what is counted about services goes."""
    return share_of(pytestconfig)


@pytest.fixture(scope="session")
def mode(pytestconfig: pytest.Config) -> Mode:
    """What is real in this run."""
    return pytestconfig.stash[MODE]


@pytest.fixture(scope="session")
@requires("postgres", "redis")
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


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand a worker's share of the statistics over; the owner ends its services here, so that the summary can tell of it."""
    pool = session.config.stash[POOL]
    if pool is None:
        return
    share = share_of(session.config)
    found = pool.statistics
    healed, given_up = Counter(healed.service for healed in found.healed), dict.fromkeys(found.given_up, 1)
    share.add({"started": found.started, "healed": dict(healed), "given_up": given_up})
    if pool.owner:
        pool.stop_all()
    else:
        session.config.workeroutput[RUN] = share.plain()  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Add up what a worker that has ended says of its services; one that crashed says nothing."""
    output: dict[str, dict[str, object]] = getattr(node, "workeroutput", {})
    if RUN in output:
        share_of(node.config).add(output[RUN])  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    pool = config.stash.get(POOL, None)
    if pool is not None and pool.owner:
        pool.stop_all()
