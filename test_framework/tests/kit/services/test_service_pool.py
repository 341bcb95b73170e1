"""A run's services: started once for all workers, looked after, fallen back on, and nobody else's business."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from test_framework import CHECKOUT
from test_framework.service_pool import ServicePool
from test_framework.services import choice
from test_framework.services.bundled import bundled
from test_framework.services.compose import ComposeProvider
from test_framework.services.lifecycle import Lifecycle
from test_framework.services.run import Run
from test_framework.services.stack import Stack
from test_framework.services.state import Observation, ServiceName, State
from test_framework.tests.kit.services.conftest import on
from test_framework.waiting import comes_true

PAUSES = 20
WORKER = """
import sys
from test_framework.service_pool import ServicePool
pool = ServicePool.join(sys.argv[1], "bundled")
print(pool.get("redis").identity, pool.get("postgres").identity)
pool.stop_all()
"""


def quiet(line: str) -> None:
    pass


def test_workers_share_what_the_first_of_them_started() -> None:
    with ServicePool("bundled", say=quiet) as pool:
        command = [sys.executable, "-c", WORKER, pool.run]
        workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) for _ in range(3)]
        found = {worker.communicate(timeout=20)[0] for worker in workers}

        assert found == {f"{pool.get('redis').identity} {pool.get('postgres').identity}\n"}
        assert pool.get("redis").observe().state is State.HEALTHY


def test_threads_that_ask_at_once_get_one_service() -> None:
    with ServicePool("bundled", say=quiet) as pool, ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: pool.get("redis").identity, range(8)))

    assert len(found) == 1


def test_two_runs_of_one_checkout_never_meet() -> None:
    with ServicePool("bundled", say=quiet) as one, ServicePool("bundled", say=quiet) as other:
        with (
            redis.Redis.from_url(one.get("redis").url) as first,
            redis.Redis.from_url(other.get("redis").url) as second,
        ):
            first.set("whose", "one")
            assert second.get("whose") is None
        one.stop_all()

        assert other.get("redis").observe().state is State.HEALTHY


def test_what_was_warm_is_used_and_left_as_it_was(dev: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    warm = Lifecycle(dev, bundled(dev))
    warm.ensure("redis")
    identity = warm.provider.identity("redis")
    monkeypatch.delenv("REDIS_URL", raising=False)

    with ServicePool("auto", say=quiet, checkout=dev.checkout) as pool:
        service = pool.get("redis")
        assert (service.warm, service.identity, service.reason) == (True, identity, "already up")

    assert warm.provider.observe("redis").state is State.HEALTHY


def test_a_provider_that_fails_gives_way_to_the_next_and_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(ComposeProvider):
        def missing(self, service: ServiceName) -> str | None:
            return None

        def observe(self, service: ServiceName) -> Observation:
            return Observation(State.ENGINE_DOWN, "the engine went away")

    said: list[str] = []
    monkeypatch.setattr(choice, "MAKERS", {"compose": Failing, "bundled": bundled})

    with ServicePool("auto", say=said.append) as pool:
        assert pool.get("redis").provider == "bundled"

    assert said[0] == "redis: compose cannot: the engine went away"
    assert said[1].startswith("redis: bundled (no compose: it could not start it)")


@pytest.mark.parametrize("provider", on("bundled", "compose"))
@pytest.mark.timeout(90)
def test_a_redis_that_somebody_pauses_twenty_times_costs_nothing_but_time(provider: str) -> None:
    with ServicePool(provider, say=quiet) as pool:
        service = pool.get("redis")
        stranger = Stranger(service.lifecycle)
        with redis.Redis.from_url(service.url, socket_timeout=5) as client:
            done = 0
            with stranger:
                while stranger.pauses < PAUSES:
                    client.incr("done")
                    done += 1
            assert int(str(client.get("done").decode())) == done

        assert stranger.pauses == PAUSES
        assert service.observe().state is State.HEALTHY
        assert len(pool.statistics.healed) >= PAUSES // 2


class Stranger:
    """Pauses a service behind the lifecycle's back, at random."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self.provider = lifecycle.provider
        self.pauses = 0
        self.thread = threading.Thread(target=self.go_on)

    def go_on(self) -> None:
        while self.pauses < PAUSES:
            time.sleep(random.uniform(0.01, 0.15))
            if self.provider.glance("redis") is not State.PAUSED:
                self.provider.pause("redis")
                self.pauses += 1

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *exception: object) -> None:
        self.thread.join(60)


def test_what_a_test_paused_on_purpose_stays_paused() -> None:
    with ServicePool("bundled", say=quiet) as pool:
        service = pool.get("redis")
        with service.paused():
            time.sleep(0.5)
            assert service.observe().state is State.PAUSED

        assert service.observe().state is State.HEALTHY
        assert pool.statistics.healed == ()


def test_a_service_that_was_killed_by_nobody_s_wish_comes_back_where_it_was(run: Run) -> None:
    with ServicePool("bundled", say=quiet) as pool:
        service = pool.get("redis")
        url, identity = service.url, service.identity
        service.lifecycle.provider.kill("redis")

        comes_true(lambda: service.observe().state is State.HEALTHY, "a healthy service")

        assert service.url == url
        assert service.identity != identity
