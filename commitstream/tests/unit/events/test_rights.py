"""A change of rights: those who may no longer watch a stream are shown nothing that was written after it."""

from __future__ import annotations

import pytest

from commitstream import hub as hub_module
from commitstream.envelope import merged
from commitstream.hub import Hub
from commitstream.journal import PAGE
from commitstream.tests.unit.events.worlds import Eye, HeldJournal, turns
from commitstream.watchers import CloseReason

LOT = "lot:42"


async def never() -> bool:
    return False


class Rights:
    """What `may_watch` answers: `fault` is raised instead, `allowed` returned."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.allowed = True

    async def __call__(self) -> bool:
        if self.fault is not None:
            raise self.fault
        return self.allowed


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one batch"])
async def test_a_live_watcher_without_the_right_ends_there(hub: Hub, journal: HeldJournal, together: bool) -> None:
    eye = Eye(allowed=never)
    await hub.attach(eye, LOT)

    batches = [journal.commit(LOT, 2), journal.change_rights(LOT), journal.commit(LOT, 2)]
    for batch in merged(batches) if together else batches:
        hub.receive(batch)

    assert await eye.closed() is CloseReason.FORBIDDEN
    eye.assert_exact(3)
    assert hub.watchers == 0


@pytest.mark.parametrize("change", [1, PAGE - 1, PAGE, PAGE + 1, PAGE * 2])
async def test_a_replay_without_the_right_ends_there(hub: Hub, journal: HeldJournal, change: int) -> None:
    eye = Eye(allowed=never)
    if change > 1:
        journal.commit(LOT, change - 1)
    journal.change_rights(LOT)
    journal.commit(LOT, PAGE)

    await hub.attach(eye, LOT)

    assert await eye.closed() is CloseReason.FORBIDDEN
    eye.assert_exact(change)
    assert (eye.live_at, hub.watchers) == (None, 0)


async def test_a_watcher_behind_without_the_right_ends_there(hub: Hub, journal: HeldJournal) -> None:
    eye = Eye(allowed=never)
    await hub.attach(eye, LOT)
    eye.blocked = True
    for batch in (journal.commit(LOT), journal.change_rights(LOT), journal.commit(LOT)):
        hub.receive(batch)
    await turns()

    eye.blocked = False

    assert await eye.closed() is CloseReason.FORBIDDEN
    eye.assert_exact(2)


async def test_a_full_watcher_is_shown_nothing_after_the_change(hub: Hub, journal: HeldJournal) -> None:
    eye = Eye(allowed=never)
    await hub.attach(eye, LOT)
    eye.blocked = True
    for batch in (journal.change_rights(LOT), journal.commit(LOT)):
        hub.receive(batch)

    assert await eye.closed() is CloseReason.FORBIDDEN
    assert eye.seen == []


async def test_a_change_that_the_bus_lost_counts_too(hub: Hub, journal: HeldJournal) -> None:
    eye = Eye(allowed=never)
    await hub.attach(eye, LOT)
    journal.change_rights(LOT)

    hub.receive(journal.commit(LOT))

    assert await eye.closed() is CloseReason.FORBIDDEN
    eye.assert_exact(1)


async def test_a_watcher_with_the_right_is_shown_everything(hub: Hub, journal: HeldJournal) -> None:
    eye, other = Eye(), Eye(allowed=never)
    await hub.attach(eye, LOT)
    await hub.attach(other, "lot:43")

    for batch in (journal.commit(LOT), journal.change_rights(LOT), journal.commit(LOT), journal.commit("lot:43")):
        hub.receive(batch)
    await eye.reach(3)
    hub.receive(journal.commit(LOT))
    await eye.reach(4)

    eye.assert_exact(4)
    other.assert_exact(1)
    assert (eye.asked, other.asked) == (1, 0)


async def test_each_change_is_asked_about(hub: Hub, journal: HeldJournal) -> None:
    rights = Rights()
    eye = Eye(allowed=rights)
    await hub.attach(eye, LOT)
    hub.receive(journal.change_rights(LOT))
    hub.receive(journal.commit(LOT))
    await eye.reach(2)

    rights.allowed = False
    hub.receive(journal.change_rights(LOT))
    hub.receive(journal.commit(LOT))

    assert await eye.closed() is CloseReason.FORBIDDEN
    eye.assert_exact(3)
    assert eye.asked == 2


@pytest.mark.parametrize("fault", [ConnectionError("away"), RuntimeError("a fault of may_watch")], ids=["away", "bug"])
@pytest.mark.parametrize("allowed", [True, False])
async def test_a_question_that_fails_is_asked_again(
    hub: Hub, journal: HeldJournal, fault: Exception, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "RECONCILE_SECONDS_WITHOUT_BUS", 0.001)
    rights = Rights()
    rights.fault, rights.allowed = fault, allowed
    eye = Eye(allowed=rights)
    await hub.attach(eye, LOT)
    for batch in (journal.change_rights(LOT), journal.commit(LOT)):
        hub.receive(batch)
    await eye.asked_times(3)
    assert eye.seen == [1]

    rights.fault = None

    if allowed:
        await eye.reach(2)
        eye.assert_exact(2)
    else:
        assert await eye.closed() is CloseReason.FORBIDDEN
        eye.assert_exact(1)


async def test_who_leaves_while_the_right_is_asked_for_is_gone(hub: Hub, journal: HeldJournal) -> None:
    rights = Rights()
    rights.fault = ConnectionError("away")
    eye = Eye(allowed=rights)
    await hub.attach(eye, LOT)
    hub.receive(journal.change_rights(LOT))
    await eye.asked_times(1)

    await hub.detach(eye, LOT)
    await turns()

    assert (hub.watchers, eye.asked) == (0, 1)
