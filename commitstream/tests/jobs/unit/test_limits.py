"""How much one user may ask, and that another is not held back by it."""

from __future__ import annotations

import pytest

from commitstream.service import limits
from commitstream.service.limits import Bucket, Limits
from commitstream.service.problems import Problem
from commitstream.tests.jobs.conftest import MakeJobsSettings
from commitstream.tests.jobs.inside import assert_problem, started


async def test_too_many_requests_are_told_when_the_next_one_may_come(make_settings: MakeJobsSettings) -> None:
    async with started(make_settings(requests_per_minute=18)) as inside:
        answers = [await inside.client.get("/api/jobs", headers=inside.user("ada")) for _ in range(8)]

        assert [answer.status_code for answer in answers[:3]] == [200, 200, 200]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert len(refused) >= 4
        for answer in refused:
            assert_problem(answer, 429, "more than 18 requests a minute")
            assert 1 <= int(answer.headers["retry-after"]) <= 4
        assert (await inside.client.get("/api/jobs", headers=inside.user("bob"))).status_code == 200


def test_a_bucket_fills_again_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    bucket = Bucket(60)
    while not bucket.take():
        pass

    wait = bucket.take()
    now += wait

    assert wait == pytest.approx(1.0)
    assert bucket.take() == 0
    assert bucket.take() > 0


def test_a_bucket_never_holds_more_than_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    bucket = Bucket(60)
    now += 86_400.0

    taken = 0
    while not bucket.take():
        taken += 1

    assert taken == 10


def test_a_socket_more_than_a_user_may_have_is_refused_until_one_is_closed() -> None:
    kept = Limits(requests_per_minute=60, sockets_per_user=2)

    with kept.socket("ada"):
        with kept.socket("ada"), pytest.raises(Problem, match="more than 2 sockets"):
            kept.require_socket("ada")
        kept.require_socket("ada")
        kept.require_socket("bob")

    assert not kept._sockets


def test_users_are_forgotten_the_longest_unseen_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REMEMBERED_USERS", 3)
    kept = Limits(requests_per_minute=60, sockets_per_user=1)

    for user in ("ada", "bob", "ada", "cid", "dot"):
        kept.count_request(user)

    assert list(kept._buckets) == ["ada", "cid", "dot"]
