"""The previous champion is ready for the way back."""

from model_deployment.core.domain import State
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.names import ModelKey
from tests.support.rollout_simulation import LONG, MODEL, RolloutSimulation, rollout_simulation

LIVE = EndpointName(MODEL, "live")
ONE, TWO = ModelKey(MODEL, 1), ModelKey(MODEL, 2)
STRAIGHT = {
    "checks": {"example": False, "signature": False, "replay": 0},
    "canary": {"steps": []},
}


async def ticks(it: RolloutSimulation, number: int = 10) -> None:
    for _ in range(number):
        await it.deployments_go_on()
        await it.tick(LONG)


async def test_a_champion_that_was_parked_is_woken_when_it_is_the_previous_one() -> None:
    with rollout_simulation() as it:
        it.aliases = {"live": 1}
        await it.start()
        await it.service.put(LIVE, STRAIGHT)
        await ticks(it)
        await it.idles(ONE)
        it.aliases = {"live": 2}
        await ticks(it)
        one, two = [await it.deployed.deployments.get(key) for key in (ONE, TWO)]
        assert one is not None
        assert two is not None
        assert (one.state, two.state) == (State.READY, State.READY)
        await it.idles(ONE)
        shown = await it.service.rollback(LIVE, "")
        assert shown.endpoint.champion == 1
        await it.gone()
