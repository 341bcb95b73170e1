"""`invoke clean.all` in one checkout: what it made is gone, and what others of this machine use stays."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient
from docker.models.images import Image

from test_framework import CHECKOUT
from test_framework.services import bundled, cluster_cache, engine, leftovers
from test_framework.services.dev import DevStack
from test_framework.services.drivers import service_names
from test_framework.services.stack import Stack
from test_framework.tests.kit.services.conftest import copy_checkout, dev_stack, invoke, python

SECONDS = 120


def clean_all(stack: Stack) -> str:
    command = invoke(stack, "clean.all")
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_clean_all_keeps_a_cache_that_another_checkout_uses(dev: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICES", "bundled")
    postgres = bundled.find("postgres")
    assert isinstance(postgres, Path)
    cluster = cluster_cache.initialised_cluster(cluster_cache.reachable_binaries(postgres))
    up = subprocess.run(invoke(dev, "services.up"), cwd=CHECKOUT, capture_output=True, timeout=SECONDS, check=False)
    assert up.returncode == 0, up.stderr
    assert cluster_cache.used_by(cluster, dev.checkout).exists()

    printed = clean_all(dev)

    assert "removing the dev stack" in printed
    assert str(cluster) not in printed
    assert cluster.exists()
    assert cluster_cache.used_by(cluster).exists()
    assert {one.state for one in DevStack(dev).status(service_names())} == {"absent"}


def build(stack: Stack, text: str) -> None:
    """Build the service's image, from another Dockerfile each time."""
    base = next(line for line in (CHECKOUT / "Dockerfile").read_text().splitlines() if line.startswith("FROM "))
    (stack.checkout / "Dockerfile").write_text(f"{base.partition(' AS ')[0]}\nENV TEXT={text}\n")
    code = "from test_framework.services.replicas import Replicas; Replicas().build()"
    subprocess.run(python(stack, code), cwd=CHECKOUT, check=True, timeout=SECONDS)


@pytest.fixture
def client() -> Iterator[DockerClient]:
    client = engine.connect()
    yield client
    client.close()


def images_of(client: DockerClient, stack: Stack) -> list[Image]:
    return client.images.list(filters={"label": f"{leftovers.IMAGE_CHECKOUT_LABEL}={stack.checkout}"})


@pytest.fixture
def stacks(dev: Stack, client: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Stack]]:
    """The dev stacks of two checkouts, whose images are gone after the test."""
    with dev_stack(copy_checkout(tmp_path_factory.mktemp("other"))) as other:
        yield dev, other
        for image in (image for stack in (dev, other) for image in images_of(client, stack)):
            client.images.remove(str(image.id), force=True)


@pytest.mark.needs("docker")
@pytest.mark.parametrize("builder", ["0", "1"], ids=["classic builder", "BuildKit"])
def test_clean_all_removes_the_images_of_this_checkout_alone(
    builder: str, stacks: tuple[Stack, Stack], client: DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def images() -> list[int]:
        return [len(images_of(client, stack)) for stack in stacks]

    dev, other = stacks
    monkeypatch.setenv("DOCKER_BUILDKIT", builder)
    build(other, "one")
    for text in ("one", "two"):  # the second build takes the first image's name away
        build(dev, text)
    user = client.containers.create(f"{dev.name}-app", labels={"com.docker.compose.project": ""})
    try:
        assert images() == [2, 1]
        clean_all(dev)
        assert images() == [1, 1]
    finally:
        user.remove()

    clean_all(dev)
    assert images() == [0, 1]

    clean_all(other)
    assert images() == [0, 0]
