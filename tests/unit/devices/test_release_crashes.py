"""A controller that is killed at any point of a release: the next one brings about what has to come."""

import pytest

from model_deployment.alerts.alert import AlertKind
from model_deployment.core.releases import ReleasePolicy
from tests.support.fleet import MODEL, PROJECT, Fleet, fleet

pytestmark = pytest.mark.slow

#: Points that the course has at least: one that has fewer no longer does what it did.
POINTS = 80


async def course(it: Fleet) -> None:
    """A bad release begins, is stopped at the canary group, and is taken back."""
    await it.service.set_version(PROJECT, MODEL, 2, ReleasePolicy(), "op")
    for _ in range(14):
        await it.devices_go_on()
        await it.look()


async def crashed(first: int, second: int) -> bool:
    """Play the course with a crash at a point of it, and one at a point of the recovery.

    Returns:
        Whether the course has so many points.
    """
    with fleet() as it:

        async def recovery() -> None:
            for _ in range(3):
                await it.look()

        await it.start()
        await it.service.create_project(PROJECT, [MODEL], "op")
        await it.joined(2, "canary")
        await it.joined(1)
        await it.service.set_version(PROJECT, MODEL, 1, ReleasePolicy(), "op")
        await it.quiet()
        it.bad.add(2)
        if reached := await it.crashes(lambda: course(it), first):
            await it.start()
            if await it.crashes(recovery, second):
                await it.start()
        await it.settle()
        await check(it, begun=first > 1)
        await it.gone()
        return reached


async def check(it: Fleet, *, begun: bool) -> None:
    """``begun``: the order was given before the first crash."""
    states = await it.states()
    whole = {1: "complete", 2: "stopped", 3: "complete"}
    assert states == whole or (not begun and states == {1: "complete"}), states
    assert [one.version for one in it.agents.values()] == [1, 1, 1]
    told = [(one.kind, one.details["release"]) for one in it.alerts]
    good, bad = AlertKind.RELEASE_COMPLETE, AlertKind.RELEASE_STOPPED
    # At least once: it may be killed after the webhook was called, and before that was noted.
    assert {*told} == {(good, 1), (bad, 2), (good, 3)} or not begun
    assert len(told) <= len({*told}) + 2


async def test_release_ends_as_it_must_wherever_controllers_are_killed() -> None:
    point = 1
    while await crashed(point, second=point % 7 + 1):
        # What is stored before a write is what was stored after the one before.
        point += 2
    assert point > POINTS
