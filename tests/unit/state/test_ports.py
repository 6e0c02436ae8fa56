"""The five rules of the port pool, and what may be wished for at all."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_deployment.core.domain import State
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.port_usage import BlockedPort
from model_deployment.state.ports import Ports
from tests.support.stored import FIRST, LAST, NOW, Store, leader, opened


async def leases(store: Store) -> dict[int, str]:
    rows = await store.execute("SELECT port, launch_id FROM ports WHERE launch_id NOT NULL")
    return {row["port"]: row["launch_id"] for row in rows}


async def ports(store: Store) -> list[int]:
    return [row["port"] for row in await store.execute("SELECT port FROM ports ORDER BY port")]


async def test_a_lease_names_its_launch(store: Store) -> None:
    one = await store.launch(await store.deploy("a"))
    two = await store.launch(await store.deploy("b"))
    assert (one.port, two.port) == (FIRST, FIRST + 1)
    assert await leases(store) == {FIRST: one.launch_id, FIRST + 1: two.launch_id}


async def test_the_lowest_free_port_goes_first(store: Store) -> None:
    rows = [await store.launch(await store.deploy("m", version)) for version in (1, 2, 3)]
    await store.end(rows[1], State.STOPPED)
    await store.end(rows[0], State.STOPPED)
    assert await store.ports.next_free(NOW) == FIRST
    assert (await store.launch(await store.deploy("n", 1))).port == FIRST
    assert (await store.launch(await store.deploy("n", 2))).port == FIRST + 1
    assert (await store.launch(await store.deploy("n", 3))).port == FIRST + 3


async def test_with_every_port_leased_there_is_none(store: Store) -> None:
    for version in range(1, 6):
        await store.launch(await store.deploy("m", version))
    assert await store.ports.next_free(NOW) is None
    assert await store.ports.next_free(NOW * 1000) is None


async def test_a_released_port_rests(store: Store) -> None:
    row = await store.launch(await store.deploy())
    await store.end(row, State.PENDING, rests=5)
    assert await leases(store) == {}
    assert await store.ports.next_free(NOW + 4.9) == FIRST + 1
    assert await store.ports.next_free(NOW + 5) == FIRST


async def test_a_blocked_port_is_stepped_round_and_looked_at_again(store: Store) -> None:
    await store.ports.block(FIRST, "nginx (pid 7)", NOW + 60)
    assert await store.ports.next_free(NOW + 59.9) == FIRST + 1
    assert (await store.ports.usage(NOW)).blocked == (BlockedPort(FIRST, "nginx (pid 7)"),)
    assert await store.ports.next_free(NOW + 60) == FIRST
    assert (await store.ports.usage(NOW + 60)).blocked == ()


async def test_leases_of_launches_that_no_row_knows_are_pruned(store: Store) -> None:
    kept = await store.launch(await store.deploy("a"))
    await store.launch(await store.deploy("b"))
    await store.execute("DELETE FROM deployments WHERE model = 'b'")
    assert await store.ports.prune({str(kept.launch_id)}) == [FIRST + 1]
    assert await leases(store) == {FIRST: kept.launch_id}
    assert await store.ports.prune({str(kept.launch_id), "unknown"}) == []
    assert await store.ports.next_free(NOW) == FIRST + 1


@pytest.mark.parametrize("why", ["leased", "resting", "blocked", "outside"])
async def test_a_port_that_is_not_free_cannot_be_leased(store: Store, why: str) -> None:
    port = LAST + 1 if why == "outside" else FIRST
    if why in ("leased", "resting"):
        row = await store.launch(await store.deploy("other"), port)
        if why == "resting":
            await store.end(row, State.STOPPED, rests=1)
    if why == "blocked":
        await store.ports.block(port, "nginx", NOW + 1)
    row = await store.deploy()
    before = await store.dump()
    with pytest.raises(IllegalTransition, match=f"cannot lease port {port}: it is not free"):
        await store.launch(row, port)
    # Nor did the row enter starting: it is one transaction.
    assert await store.dump() == before


async def test_two_launches_cannot_win_the_same_port(store: Store) -> None:
    rows = [await store.deploy("m", version) for version in range(1, 9)]
    outcomes = await asyncio.gather(
        *(store.launch(row, FIRST) for row in rows), return_exceptions=True
    )
    assert sum(isinstance(outcome, IllegalTransition) for outcome in outcomes) == 7
    assert len(await leases(store)) == 1


async def test_a_launch_that_was_blocked_once_is_not_called_so_later(store: Store) -> None:
    await store.ports.block(FIRST, "nginx", NOW)
    await store.launch(await store.deploy(), FIRST)
    assert [*await store.execute("SELECT * FROM ports WHERE blocked_by != ''")] == []


async def test_the_table_follows_the_configured_range(store: Store) -> None:
    row = await store.launch(await store.deploy())
    await store.ports.block(FIRST + 2, "nginx", NOW + 60)
    assert await ports(store) == [*range(FIRST, LAST + 1)]
    moved = Ports(store.database, FIRST + 2, LAST + 2)
    assert moved.name == "8003-8007"
    await moved.fill()
    # What is leased outside stays until it is released, and is given to nobody else.
    assert await ports(store) == [FIRST, *range(FIRST + 2, LAST + 3)]
    assert await moved.next_free(NOW) == FIRST + 3  # the block is remembered
    await store.end(row, State.STOPPED)
    assert await moved.next_free(NOW) == FIRST + 3
    usage = await moved.usage(NOW)
    assert (usage.first, usage.last, usage.size, usage.leased) == (FIRST + 2, LAST + 2, 5, 0)
    await moved.fill()
    assert await ports(store) == [*range(FIRST + 2, LAST + 3)]


async def test_each_port_is_counted_once(store: Store) -> None:
    row = await store.launch(await store.deploy("a"))  # leased, and blocked besides
    await store.ports.block(FIRST, "late", NOW + 60)
    resting = await store.launch(await store.deploy("b"))
    await store.end(resting, State.STOPPED, rests=5)
    both = await store.launch(await store.deploy("c"), FIRST + 2)  # resting, and blocked besides
    await store.end(both, State.STOPPED, rests=99)
    await store.ports.block(FIRST + 2, "nginx", NOW + 60)
    usage = await store.ports.usage(NOW)
    assert (usage.leased, usage.quarantined) == (1, 1)
    assert usage.blocked == (BlockedPort(FIRST + 2, "nginx"),)
    assert usage.free == 2
    later = await store.ports.usage(NOW + 60)
    assert (later.leased, later.quarantined, later.blocked, later.free) == (1, 1, (), 3)
    # What is leased stays leased whatever is said of its port.
    assert await leases(store) == {FIRST: row.launch_id}


class Pool:
    """The pool under random use."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = NOW

    async def lease(self) -> int | None:
        """Give the next free port to a new launch; None if there is none."""
        port = await self.store.ports.next_free(self.now)
        if port is None:
            return None
        row = await self.store.deploy("m", len(await self.store.deployments.all()) + 1)
        start = self.store.launches.start
        name = f"launch {row.key}"
        return (await start(row, leader(row), name, port, self.now, self.now)).port

    async def use(self, step: str, port: int, seconds: float) -> None:
        match step:
            case "lease":
                await self.lease()
            case "block":
                await self.store.ports.block(port, "nginx", self.now + seconds)
            case "later":
                self.now += seconds
            case "release":
                for row in await self.store.deployments.all():
                    if row.port == port:
                        rests = self.now - NOW + seconds
                        await self.store.end(row, State.STOPPED, rests=rests)


uses = st.tuples(
    st.sampled_from(["lease", "release", "block", "later"]),
    st.integers(FIRST, LAST),
    st.floats(0, 30),
)


@pytest.mark.slow
@settings(max_examples=25)  # a database each
@given(st.lists(uses, max_size=12))
def test_as_many_ports_as_are_free_can_be_leased(steps: list[tuple[str, int, float]]) -> None:
    async def run(folder: Path) -> None:
        async with opened(folder) as store:
            pool = Pool(store)
            for step in steps:
                await pool.use(*step)
            free = (await store.ports.usage(pool.now)).free
            given = [await pool.lease() for _ in range(free)]
            assert None not in given
            assert given == sorted({*given}, key=int)  # type: ignore[arg-type]
            assert await pool.lease() is None

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
