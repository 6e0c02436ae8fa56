"""Ports that deployments need: a wish, or a change of options, for more than there are is refused."""

from dataclasses import replace

import pytest

from model_deployment.core.domain import Desired, State
from model_deployment.core.errors import NoFreePort
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options, StartMethod
from model_deployment.core.replicas import Replicas
from tests.support.stored import KEY, Store

LIVE = (State.STARTING, State.READY, State.STOPPING)


@pytest.mark.parametrize("state", [None, State.STOPPED, State.FAILED])
async def test_a_wish_beyond_the_capacity_is_refused(store: Store, state: State | None) -> None:
    if state is not None:
        await store.bring(state, Desired.STOPPED)
    await store.deploy("a")
    await store.deploy("b")
    before = await store.dump()
    with pytest.raises(NoFreePort, match="2 of 2 usable ports are taken") as refused:
        await store.deployments.want_running(KEY, Options(), "x", 2)
    assert refused.value.retry_after
    assert await store.dump() == before
    await store.deployments.want_running(KEY, Options(), "x", 3)


@pytest.mark.parametrize(
    ("state", "desired", "counts"),
    [
        (State.PENDING, Desired.RUNNING, True),
        (State.PENDING, Desired.STOPPED, False),
        *((state, desired, True) for state in LIVE for desired in Desired),
        (State.STOPPED, Desired.STOPPED, False),
        (State.FAILED, Desired.RUNNING, False),
    ],
)
async def test_rows_that_have_or_will_have_a_port_take_capacity(
    store: Store, state: State, desired: Desired, counts: bool
) -> None:
    await store.bring(state, desired)
    if counts:
        with pytest.raises(NoFreePort):
            await store.deployments.want_running(ModelKey("m", 2), Options(), "x", 1)
    else:
        await store.deployments.want_running(ModelKey("m", 2), Options(), "x", 1)


async def test_each_replica_that_is_always_there_takes_capacity(store: Store) -> None:
    many = Options(replicas=Replicas(2, 5))
    with pytest.raises(NoFreePort, match="2 replicas need 2 ports; usable: 1"):
        await store.deployments.want_running(KEY, many, "x", 1)
    row, _ = await store.deployments.want_running(KEY, many, "x", 2)
    assert row.replicas == 2
    with pytest.raises(NoFreePort, match="2 of 2 usable ports"):
        await store.deployments.want_running(ModelKey("m", 2), Options(), "x", 2)
    await store.deployments.want_running(ModelKey("m", 2), Options(), "x", 3)


@pytest.mark.parametrize(
    ("replicas", "said"),
    [
        (Replicas(3, 3), "3 replicas need 3 ports; usable: 2"),
        (Replicas(2, 3), "1 of 2 usable ports are taken, and its 2 replicas need one each"),
        (Replicas(1, 64), None),
    ],
)
async def test_more_replicas_than_ports_are_no_options(
    store: Store, replicas: Replicas, said: str | None
) -> None:
    before = Options()
    await store.deployments.want_running(KEY, before, "x", 2)
    await store.deployments.want_running(ModelKey("m", 2), before, "x", 2)
    change = store.ports.check_change(KEY, before, Options(replicas=replicas), 2)
    if said is None:
        await change
    else:
        with pytest.raises(NoFreePort, match=said):
            await change


async def test_no_more_ports_are_said_to_be_taken_than_there_are(store: Store) -> None:
    await store.deployments.want_running(KEY, Options(replicas=Replicas(3, 3)), "x", 3)
    with pytest.raises(NoFreePort, match=r"^2 of 2 usable ports are taken$"):
        await store.deployments.want_running(ModelKey("m", 2), Options(), "x", 2)


async def test_deployments_that_can_be_parked_share_what_the_largest_needs(store: Store) -> None:
    parkable = Options(idle_timeout=60, replicas=Replicas(2, 2))
    await store.deployments.want_running(KEY, parkable, "x", 3)
    await store.deployments.want_running(ModelKey("m", 2), replace(parkable), "x", 3)
    await store.deployments.want_running(ModelKey("m", 3), Options(), "x", 3)
    with pytest.raises(NoFreePort, match=r"1 of 3 .*, and 2 are reserved for models that can"):
        await store.deployments.want_running(ModelKey("m", 4), Options(), "x", 3)


async def test_a_container_takes_no_port(store: Store) -> None:
    container = Options(start_method=StartMethod.CONTAINER)
    for version in (1, 2, 3):
        await store.deployments.want_running(ModelKey("m", version), container, "x", 1)
    await store.deployments.want_running(ModelKey("m", 4), Options(), "x", 1)
