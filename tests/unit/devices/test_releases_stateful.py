"""Whatever happens to releases: the checks of every tick hold, and everything ends as it must.

Controllers are killed between any two effects; operators, devices and endpoints act in the middle of ticks.
The checks are in ``tests/support/fleet_checks.py``.
"""

from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import AbortRule, ReleasePolicy
from tests.support.fleet import LONG, MODEL, PROJECT, Fleet, fleet
from tests.support.loop_machine import LoopMachine

pytestmark = pytest.mark.slow

LIVE = EndpointName(MODEL, "live")
POLICIES = {
    "default": ReleasePolicy(),
    "all at once": ReleasePolicy(groups=(), percent=()),
    "many stages": ReleasePolicy(groups=("canary", "hall"), percent=(20.0, 60.0)),
    "strict": ReleasePolicy(success=100.0, abort=AbortRule(failed=1, of=100)),
    "rests": ReleasePolicy(percent=(), soak=300.0),
}
policies = st.sampled_from([*POLICIES])
versions = st.integers(1, 4)
places = st.integers(0, 7)
points = st.integers(1, 25)
groups = st.sampled_from([(), (), ("canary",), ("hall",), ("canary", "hall")])
acts = (
    st.tuples(st.just("set_version"), versions, policies)
    | st.tuples(st.just("follow"), policies)
    | st.tuples(st.just("champion"), st.none() | versions)
    | st.tuples(st.sampled_from(["pause", "resume", "stop", "unfollow"]))
    | st.tuples(st.sampled_from(["revoke", "fails later", "enrols again"]), places)
    | st.tuples(st.just("groups"), places, groups)
)

Act = tuple[Any, ...]


class Controllers(LoopMachine):
    """Controllers in one world."""

    it: Fleet

    async def act(self, act: Act) -> None:
        """What operators, endpoints and devices do; it may be refused."""
        what, *more = act
        service = self.it.service
        with suppress(ModelDeploymentError, LookupError):
            match what:
                case "set_version":
                    await service.set_version(PROJECT, None, more[0], POLICIES[more[1]], "op")
                case "follow":
                    await service.follow(PROJECT, LIVE, POLICIES[more[0]], "op")
                case "champion":
                    version = more[0]
                    self.it.champions[LIVE] = ModelKey(MODEL, version) if version else None
                case "unfollow":
                    await service.unfollow(PROJECT, "op")
                case "revoke":
                    await service.revoke(PROJECT, self.name(more[0]), "op")
                case "groups":
                    await service.change_device(PROJECT, self.name(more[0]), "op", groups=more[1])
                case "enrols again":
                    await self.it.join(name=self.name(more[0]))
                case "fails later":
                    agent = self.it.agents[self.name(more[0])]
                    if agent.ran:
                        await self.it.fails_later(agent, max(agent.ran))
                case _:
                    newest = await self.it.newest()
                    await getattr(service, what)(PROJECT, newest.number, "op")

    def name(self, place: int) -> str:
        return [*self.it.agents][place]

    @initialize(joined=st.lists(groups, max_size=5), version=versions)
    def begin(self, joined: list[tuple[str, ...]], version: int) -> None:
        self.it = self.ends.enter_context(fleet())

        async def run() -> None:
            await self.it.start()
            await self.it.service.create_project(PROJECT, [MODEL], "op")
            self.it.champions[LIVE] = ModelKey(MODEL, version)
            for named in joined:
                await self.it.join(*named)
            await self.act(("set_version", version, "default"))
            await self.it.ticks(8)

        self.do(run())

    @rule(version=versions, policy=policies, times=st.integers(2, 12))
    def version_is_set_and_goes_on(self, version: int, policy: str, times: int) -> None:
        async def run() -> None:
            await self.act(("set_version", version, policy))
            await self.it.ticks(times)

        self.do(run())

    @rule(act=acts)
    def something_is_done(self, act: Act) -> None:
        self.do(self.act(act))

    @rule(named=groups, online=st.booleans())
    def device_joins(self, named: tuple[str, ...], online: bool) -> None:
        if len(self.it.agents) < 8:
            self.do(self.it.join(*named, online=online))

    @rule(place=places, online=st.booleans(), looks=st.integers(1, 4), mute=st.booleans())
    def device_is_otherwise(self, place: int, online: bool, looks: int, mute: bool) -> None:
        with suppress(LookupError):
            agent = self.it.agents[self.name(place)]
            agent.online, agent.looks, agent.mute = online, looks, mute

    @rule(version=versions, trouble=st.sampled_from(["bad", "unfit", "away"]), has=st.booleans())
    def version_has_trouble(self, version: int, trouble: str, has: bool) -> None:
        found: set[int] = getattr(self.it, trouble)
        (found.add if has else found.discard)(version)

    @rule(times=st.integers(1, 10), seconds=st.sampled_from([1.0, 20.0, 400.0]))
    def ticks(self, times: int, seconds: float) -> None:
        self.do(self.it.ticks(times, seconds))

    @rule(days=st.sampled_from([1, 30, 60]))
    def time_passes(self, days: int) -> None:
        self.do(self.it.tick(86400.0 * days))

    @rule(act=acts, point=points)
    def tick_with_an_act_in_the_middle(self, act: Act, point: int) -> None:
        async def run() -> None:
            await self.it.devices_go_on()
            self.it.steps.arm(point, partial(self.act, act))
            await self.it.look()
            self.it.steps.disarm()
            await self.it.tick()

        self.do(run())

    @rule(act=st.none() | acts, point=points, again=points)
    def crash(self, act: Act | None, point: int, again: int) -> None:
        async def work() -> None:
            if act is not None:
                await self.act(act)
            self.it.now += timedelta(seconds=LONG)
            for _ in range(3):
                await self.it.look()

        async def run() -> None:
            await self.it.devices_go_on()
            if await self.it.crashes(work, point):
                await self.it.start()
                if await self.it.crashes(work, again):
                    await self.it.start()
            await self.it.tick()

        self.do(run())

    def teardown(self) -> None:
        with self.ends:
            if hasattr(self, "it"):
                if self.healthy:
                    self.do(self.it.settle())
                self.do(self.it.gone())


TestControllers = pytest.mark.timeout(1800)(Controllers.TestCase)
TestControllers.settings = settings(
    stateful_step_count=30, max_examples=max(10, settings().max_examples // 8)
)
