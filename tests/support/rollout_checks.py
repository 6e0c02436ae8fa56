"""What holds of endpoints after every tick, whatever happened, and what when all trouble is gone."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from model_deployment.core.domain import Desired
from model_deployment.core.endpoints import Endpoint, EndpointRoute, Rollout, RolloutState
from model_deployment.core.names import ModelKey
from model_deployment.core.rollouts import TRANSITIONS, recreates

if TYPE_CHECKING:
    from tests.support.rollout_simulation import RolloutSimulation

#: Runs a statement.
Query = Callable[[str], Awaitable[list[tuple[Any, ...]]]]


def check_route(endpoint: Endpoint, rollout: Rollout | None, route: EndpointRoute) -> None:
    assert 0 <= route.share < 1
    active = rollout if rollout is not None and rollout.active else None
    if active is not None and recreates(active):
        assert (route.champion, route.share) == (endpoint.key(active.candidate), 0)
        return
    champion = endpoint.champion
    assert route.champion == (None if champion is None else endpoint.key(champion))
    if route.share or route.shadow:
        assert active is not None, f"{route} splits, and nothing is under way"
        assert (route.rollout, route.candidate) == (
            active.id,
            endpoint.key(active.candidate),
        )


async def check_events(query: Query) -> None:
    active = "SELECT endpoint_id FROM rollouts WHERE ended_at IS NULL"
    found = await query(active)
    assert len(found) == len({*found}), "two rollouts of one endpoint are under way"
    states: dict[int, str | None] = {}
    news = (
        "SELECT rollout_id, previous, state FROM rollout_events WHERE state IS NOT NULL ORDER BY id"
    )
    for id, previous, state in await query(news):
        if states.get(id) != state:  # else an order, or the next share
            assert states.get(id) == previous, "an event does not follow the last"
            assert (previous, state) in TRANSITIONS
        states[id] = state
    for id, state in await query("SELECT id, state FROM rollouts"):
        assert states[id] == state, f"rollout {id} became {state} without an event"


async def check_rest(it: "RolloutSimulation") -> None:
    """Endpoints follow their aliases, unless there was a rollback; what runs is needed."""
    used: set[ModelKey] = set()
    for endpoint, rollout in await it.store.all():
        assert rollout is None or not rollout.active, rollout
        wanted = it.aliases[endpoint.name.alias]
        assert endpoint.alias_version == wanted
        if endpoint.champion != wanted:
            assert rollout is not None
            back = rollout.kind == "back"
            stopped = rollout.state is RolloutState.ROLLED_BACK and rollout.candidate == wanted
            assert back or stopped, f"{endpoint} does not follow its alias: {rollout}"
        if endpoint.champion is not None:
            used.add(endpoint.key(endpoint.champion))
    unused = await it.store.claimed() - used
    assert not unused, f"{unused} are claimed, and nobody uses them: {await it.store.all()}"
    for row in await it.deployed.deployments.all():
        if row.desired is Desired.RUNNING:
            assert row.key in used | it.persons, f"nobody needs {row}"
