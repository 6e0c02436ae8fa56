"""Whatever is asked of the state in whatever order, what belongs together stays together."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_deployment.core.actions import Stop, Vacate
from model_deployment.core.domain import Deployment, Launch, LaunchRole, LaunchState, State, Step
from model_deployment.core.errors import Conflict, IllegalTransition, NoFreePort
from model_deployment.core.merging import Merging
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.replacement import Strategy
from model_deployment.core.replicas import Replicas
from tests.support.stored import NOW, Store, opened

KEY = ModelKey("m", 1)
#: Options that differ in what only another launch can have, in what applies at once, and in replicas.
OPTIONS = (
    Options(),
    Options(workers=2),
    Options(capture_rate=0.5),
    Options(replicas=Replicas(1, 3)),
    Options(replicas=Replicas(2, 4), idle_timeout=9.0),
)
#: What the calls may raise; the state is then as it was before.
REFUSED = (IllegalTransition, Conflict, NoFreePort)
RESTING = (State.PARKED, State.STOPPED, State.FAILED)

Call = Callable[["Caller", Deployment, Launch | None, int], Awaitable[object]]


class Caller:
    """Calls the state as the API and the control loop do, with rows that may be stale."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.numbers = count(1)

    async def start(self, row: Deployment, launch: Launch, with_port: int) -> object:
        port = await self.store.ports.next_free(NOW) if with_port else None
        port = launch.port or port
        name = f"l{next(self.numbers)}"
        return await self.store.launches.start(row, launch, name, port, NOW, NOW)

    async def release(self, row: Deployment, launch: Launch, number: int) -> object:
        state = (State.PENDING, *RESTING)[number % 4]
        action = Vacate(state, "gone", tries=number, keeps_port=True)
        return await self.store.launches.release(
            row, launch, action, keeps_port=bool(number % 2), quarantined_until=0.0
        )


def of_launch(call: Callable[[Caller, Deployment, Launch, int], Awaitable[object]]) -> Call:
    """A call that needs a launch."""

    async def work(caller: Caller, row: Deployment, launch: Launch | None, number: int) -> object:
        if launch is None:
            raise IllegalTransition("there is none")
        return await call(caller, row, launch, number)

    return work


CALLS: dict[str, Call] = {
    "deploy": lambda c, r, _, n: c.store.deployments.want_running(
        r.key, OPTIONS[n % len(OPTIONS)], f"m-1-{n % 2}", 5
    ),
    "undeploy": lambda c, r, _, n: c.store.deployments.want_stopped(r.key),
    "wake": lambda c, r, _, n: c.store.deployments.wake(r.key),
    "rouse": lambda c, r, _, n: c.store.deployments.rouse(r, "a request"),
    "settle": lambda c, r, _, n: c.store.deployments.settle(r, State.STOPPED, "undeployed"),
    "park": lambda c, r, _, n: c.store.deployments.park(r, "idle"),
    "scale": lambda c, r, _, n: c.store.deployments.scale(r, n % 5, "load"),
    "forget failure": lambda c, r, _, n: c.store.deployments.forget_failure(r.key),
    "add": lambda c, r, _, n: c.store.launches.add(r, "wanted"),
    "start": of_launch(lambda c, r, one, n: c.start(r, one, n % 3)),
    "promote": of_launch(lambda c, r, one, n: c.store.launches.promote(r, one, Merging(), NOW)),
    "hold": of_launch(
        lambda c, r, one, n: c.store.launches.move(r, one, LaunchState.PENDING, "no port")
    ),
    "stop": of_launch(
        lambda c, r, one, n: c.store.launches.stop(r, one, Stop("sick", [*Step][n % 3], NOW, n, n))
    ),
    "release": of_launch(lambda c, r, one, n: c.release(r, one, n)),
    "retire": of_launch(lambda c, r, one, n: c.store.launches.retire(r, one, "too many", NOW)),
    "forget": of_launch(lambda c, r, one, n: c.store.launches.forget(r, one, 0.0)),
    "ask": lambda c, r, _, n: c.store.replacements.ask(
        r, OPTIONS[n % len(OPTIONS)], [*Strategy][n % 2], "change", NOW
    ),
    "switch": lambda c, r, _, n: c.store.replacements.switch(r, Merging(), n, NOW, NOW),
    "give up": lambda c, r, _, n: c.store.replacements.give_up(r, "it broke", 0.0),
    "fail": lambda c, r, _, n: c.store.replacements.fail(r, "late", NOW),
    "hand over": lambda c, r, _, n: c.store.replacements.hand_over(r),
    "end": lambda c, r, _, n: c.store.replacements.end(r),
    "change": lambda c, r, _, n: c.store.replacements.change_options(
        r, OPTIONS[n % len(OPTIONS)], None, "change"
    ),
    "boot": lambda c, r, _, n: c.store.database.new_boot(str(n)),
}


async def problems(store: Store) -> list[str]:
    """All that does not belong together."""
    found = []
    leases = {
        lease["port"]: lease["launch_id"]
        for lease in await store.database.read(
            lambda c: c.execute("SELECT * FROM ports WHERE launch_id NOT NULL").fetchall()
        )
    }
    for row in await store.deployments.all():
        it = row.replacement
        beside = it is not None and it.under_way and it.strategy is Strategy.BESIDE
        limits = row.options.replicas
        checks = {
            "rests exactly without a launch that serves": (row.rest is None) == bool(row.serving),
            "is parked only with launches": not (row.parking and row.rest),
            "one launch comes exactly while a change is under way": beside == bool(row.coming),
            "replicas within the options": limits.min <= row.replicas <= limits.max,
            "no launch is ahead of the deployment": all(
                one.generation <= row.generation for one in row.serving
            ),
            "what comes is ahead of all": not row.coming
            or row.coming.generation > max(row.generation, *(o.generation for o in row.serving), 0),
            "what waits has what the deployment has": all(
                (one.options, one.artifact, one.generation)
                == (row.options, row.artifact, row.generation)
                for one in row.serving
                if one.state is LaunchState.PENDING
            ),
            "live launches lease their ports": all(
                leases.get(one.port) == one.launch_id
                for one in row.launches
                if one.is_live and one.port
            ),
            "only replicas wait at a port": all(
                one.role is LaunchRole.SERVING
                for one in row.launches
                if one.port and not one.is_live
            ),
            "a change changes nothing while it is undeployed": row.desired == "running" or not it,
        }
        found += [f"{row.key}: {name}" for name, right in checks.items() if not right]
        for one in row.launches:
            leases.pop(one.port, None)
    return found + [f"port {port} is leased to nobody" for port in leases]


steps = st.lists(
    st.tuples(st.sampled_from(sorted(CALLS)), st.integers(0, 7), st.integers(0, 20), st.booleans()),
    max_size=40,
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)  # a database each
@given(steps)
def test_what_belongs_together_stays_together(
    steps: list[tuple[str, int, int, bool]],
) -> None:
    async def run(folder: Path) -> None:
        async with opened(folder) as store:
            # Nothing here is to outlive the machine.
            await store.database.read(lambda c: c.execute("PRAGMA synchronous=OFF").fetchall())
            caller = Caller(store)
            stale = row = await store.serve(await store.deploy())
            for name, place, number, is_stale in steps:
                given = stale if is_stale else row
                launch = given.launches[place % len(given.launches)] if given.launches else None
                before = await store.dump()
                try:
                    await CALLS[name](caller, given, launch, number)
                except REFUSED:
                    assert await store.dump() == before, name
                assert await problems(store) == [], name
                stale, row = row, await store.reread(row)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
