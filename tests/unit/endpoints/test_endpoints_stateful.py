"""Whatever happens to endpoints: the checks of every tick hold, and aliases are obeyed in the end.

Controllers are killed between any two effects; operators and aliases act in the middle of ticks. The
checks are in ``tests/support/rollout_checks.py``.
"""

from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import (
    ModelDeploymentError,
    RegistryUnavailable,
)
from model_deployment.core.names import ModelKey
from model_deployment.endpoints.decide import Work
from model_deployment.endpoints.findings import Outcome
from tests.support.loop_machine import LoopMachine
from tests.support.rollout_simulation import LONG, MODEL, RolloutSimulation, rollout_simulation

pytestmark = pytest.mark.slow

LIVE, NEXT = EndpointName(MODEL, "live"), EndpointName(MODEL, "next")
POLICIES: dict[str, dict[str, Any]] = {
    "whole": {"checks": {"shadow": {}}},
    "default": {},
    "nothing": {
        "checks": {"example": False, "signature": False, "replay": 0},
        "canary": {"steps": []},
        "keep_previous": 0,
    },
    "canary alone": {"checks": {"example": False, "signature": False, "replay": 0}},
    "recreate": {"recreate": True},
}
ORDERS = ("promote", "pause", "resume", "rollback")

names = st.sampled_from([LIVE, LIVE, LIVE, NEXT])
versions = st.integers(1, 4)
points = st.integers(1, 25)
outcomes = st.sampled_from(Outcome)
seconds = st.sampled_from([0.0, 1.0, 6.0, LONG])
acts = (
    st.tuples(st.just("alias"), names, st.none() | versions)
    | st.tuples(st.just("put"), names, st.sampled_from([*POLICIES]))
    | st.tuples(st.sampled_from(ORDERS), names)
    | st.tuples(st.sampled_from(["delete", "set_default"]), names)
    | st.tuples(st.sampled_from(["deploy", "undeploy", "stop", "idle"]), versions)
)

Act = tuple[Any, ...]


class Controllers(LoopMachine):
    """Controllers in one world."""

    it: RolloutSimulation

    async def act(self, act: Act) -> None:
        """What operators, persons and the registry do; it may be refused."""
        what, target, *more = act
        service = self.it.service
        with suppress(ModelDeploymentError):
            match what:
                case "alias" if more[0] is None:
                    self.it.aliases.pop(target.alias, None)
                case "alias":
                    self.it.aliases[target.alias] = more[0]
                case "put":
                    await service.put(target, POLICIES[more[0]])
                case "delete":
                    await service.delete(target, 0)
                case "set_default":
                    await service.set_default(target.model, target.alias, 0)
                case "deploy":
                    await self.it.person_deploys(ModelKey(MODEL, target))
                case "undeploy":
                    await self.it.person_undeploys(ModelKey(MODEL, target))
                case "idle":
                    await self.it.idles(ModelKey(MODEL, target))
                case "stop":
                    await self.stop_candidate(target)
                case _:
                    await getattr(service, what)(target, "op")

    async def stop_candidate(self, version: int) -> None:
        """Somebody undeploys what only a rollout needs."""
        key = ModelKey(MODEL, version)
        pairs = await self.it.store.all()
        if not any(version in (endpoint.champion, endpoint.previous) for endpoint, _ in pairs):
            await self.it.person_undeploys(key, forced=True)

    @initialize(policy=st.sampled_from([*POLICIES]), version=versions)
    def begin(self, policy: str, version: int) -> None:
        self.it = self.ends.enter_context(rollout_simulation())
        self.it.aliases = {"live": version}

        async def run() -> None:
            await self.it.start()
            await self.it.service.put(LIVE, {})
            await self.goes_on(6)
            await self.it.service.put(LIVE, POLICIES[policy])

        self.do(run())

    async def goes_on(self, times: int) -> None:
        for _ in range(times):
            await self.it.minutes_pass(11)
            await self.it.deployments_go_on()
            await self.it.tick(6.0)

    @rule(times=st.integers(4, 12), requests=st.sampled_from([0, 1000, 1000]))
    def all_goes_well(self, times: int, requests: int) -> None:
        self.it.findings = dict.fromkeys(self.it.findings, Outcome.PASSED)
        self.it.judged, self.it.requests, self.it.registry_error = Outcome.PASSED, requests, None
        self.it.broken.clear()
        self.do(self.goes_on(times))

    @rule(version=versions)
    def alias_moves(self, version: int) -> None:
        self.it.aliases["live"] = version

    @rule(order=st.sampled_from(ORDERS))
    def order(self, order: str) -> None:
        self.do(self.act((order, LIVE)))

    @rule(version=versions)
    def memory_has_no_room_for_a_version(self, version: int) -> None:
        self.it.memory_short = True
        self.do(self.act(("put", LIVE, "recreate")))
        self.it.aliases["live"] = version
        self.ticks(1.0, 0, 8)

    @rule(act=acts)
    def something_is_done(self, act: Act) -> None:
        self.do(self.act(act))

    @rule(pause=seconds, minutes=st.sampled_from([0, 11]), times=st.integers(1, 8))
    def ticks(self, pause: float, minutes: int, times: int) -> None:
        async def run() -> None:
            for _ in range(times):
                await self.it.minutes_pass(minutes)
                await self.it.deployments_go_on()
                await self.it.tick(pause)

        self.do(run())

    @rule(act=acts, point=points)
    def tick_with_an_act_in_the_middle(self, act: Act, point: int) -> None:
        async def run() -> None:
            self.it.steps.arm(point, partial(self.act, act))
            await self.it.look(LONG)
            self.it.steps.disarm()
            await self.it.tick()

        self.do(run())

    @rule(minutes=st.sampled_from([1, 6, 11, 70]))
    def time_passes(self, minutes: int) -> None:
        self.do(self.it.minutes_pass(minutes))

    @rule(version=versions, broken=st.booleans())
    def a_version_is_broken(self, version: int, broken: bool) -> None:
        (self.it.broken.add if broken else self.it.broken.discard)(version)

    @rule(work=st.sampled_from([Work.CHECK, Work.REPLAY]), outcome=outcomes)
    def findings(self, work: Work, outcome: Outcome) -> None:
        self.it.findings[work] = outcome

    @rule(outcome=outcomes, requests=st.sampled_from([0, 1000]))
    def judgement(self, outcome: Outcome, requests: int) -> None:
        self.it.judged, self.it.requests = outcome, requests

    @rule(short=st.booleans())
    def memory(self, short: bool) -> None:
        self.it.memory_short = short

    @rule(away=st.booleans())
    def registry(self, away: bool) -> None:
        error = RegistryUnavailable("the registry does not answer")
        self.it.registry_error = error if away else None

    @rule(act=st.none() | acts, point=points, again=points)
    def crash(self, act: Act | None, point: int, again: int) -> None:
        async def work() -> None:
            if act is not None:
                await self.act(act)
            await self.it.tick(LONG)

        async def run() -> None:
            await self.it.deployments_go_on()
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
    stateful_step_count=40, max_examples=max(10, settings().max_examples // 8)
)
