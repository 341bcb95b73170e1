"""Where Python lies in a folder that only its owner may enter, Postgres runs all the same: for root as `nobody`, from a copy."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from test_framework.services import accounts, bundled, cluster_cache
from test_framework.services.drivers.postgres import ask_with_driver
from test_framework.services.lifecycle import Lifecycle
from test_framework.services.processes import ProcessProvider
from test_framework.services.run import Run


@pytest.fixture
def private_postgres(tmp_path: Path) -> Path:
    """The wheel's server, with the libraries that lie beside its package, where nobody but us can reach it."""
    return privately_installed(tmp_path)


def privately_installed(place: Path) -> Path:
    installed = bundled.find("postgres")
    assert isinstance(installed, Path), installed
    packages, belongings = cluster_cache.belongings_of(installed)
    private = place / packages.name
    for folder in belongings:
        shutil.copytree(folder, private / folder.relative_to(packages), symlinks=True)
    place.chmod(0o700)
    return private / installed.relative_to(packages)


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache in which nothing was ever copied, gone after the test."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="cache-") as folder:
        cache = Path(folder)
        cache.chmod(0o755)
        monkeypatch.setattr(cluster_cache, "cache_root", lambda: cache)
        yield cache


def test_a_postgres_that_nobody_can_reach_runs_from_a_copy(private_postgres: Path, empty_cache: Path, run: Run) -> None:
    provider = ProcessProvider("bundled", run.stack, lambda service: private_postgres)

    Lifecycle(run.stack, provider, register=run.stack.register).ensure("postgres")

    assert ask_with_driver(provider.url("postgres"))


def test_two_environments_with_the_same_postgres_share_one_copy_and_one_cluster(
    tmp_path: Path, empty_cache: Path
) -> None:
    servers = []
    for environment in (tmp_path / "one", tmp_path / "other"):
        environment.mkdir()
        servers.append(cluster_cache.reachable_binaries(privately_installed(environment)))
    clusters = {cluster_cache.initialised_cluster(server) for server in servers}

    assert len(clusters) == 1
    cached = list(cluster_cache.cached())
    assert [path for path in cached if path.parent.name == "clusters"] == list(clusters)
    if accounts.server_account().user is not None:  # only `nobody`, as root's servers run, needs a copy
        assert len(cached) == 1 + len(clusters)
