"""What there is to see of endpoints."""

from collections.abc import Awaitable, Callable
from typing import Any, TypedDict, Unpack

from model_deployment.core.endpoints import Endpoint, EndpointName, Pair, Rollout, RolloutEvent
from model_deployment.core.errors import NotDeployed
from model_deployment.core.names import ModelKey
from model_deployment.endpoints.loop import EndpointLoop
from model_deployment.endpoints.route import default_of
from model_deployment.endpoints.views import EndpointView, view
from model_deployment.state.deployments import Deployments
from model_deployment.state.endpoints import EndpointStore
from model_deployment.state.rollouts import RolloutStore

#: Compares both versions of a rollout, as JSON.
Compare = Callable[[Endpoint, Rollout], Awaitable[dict[str, Any]]]


class ReaderParts(TypedDict):
    """What :class:`EndpointReader` is made from."""

    store: EndpointStore
    rollouts: RolloutStore
    deployments: Deployments
    loop: EndpointLoop
    compare: Compare


class EndpointReader:
    """Reads what the loop makes of endpoints."""

    def __init__(self, **parts: Unpack[ReaderParts]) -> None:
        self._store = parts["store"]
        self._rollouts = parts["rollouts"]
        self._deployments = parts["deployments"]
        self._loop = parts["loop"]
        self._compare = parts["compare"]

    async def all(self) -> list[EndpointView]:
        """All endpoints, by name."""
        pairs = await self.pairs()
        views = [await self.view(pair, pairs) for pair in pairs]
        return sorted(views, key=lambda one: str(one.endpoint.name))

    async def get(self, name: EndpointName) -> EndpointView:
        """One endpoint, once all proxies route as they were told last.

        Raises:
            NotDeployed: there is no such endpoint.
        """
        pairs = await self.pairs()
        await self._loop.routed()
        return await self.view(self.pair_of(name, pairs), pairs)

    async def find(self, model: str | None, alias: str | None) -> EndpointView:
        """The endpoint of a model and an alias; what is left out is that of the default endpoint.

        Raises:
            NotDeployed: there is no such endpoint.
        """
        pairs = await self.pairs()
        if model is None:
            found = max(
                (endpoint for endpoint, _ in pairs),
                key=lambda one: (one.default_at is not None, one.default_at or one.created_at),
                default=None,
            )
        else:
            found = default_of(model, pairs)
        if found is not None and alias is not None:
            found = self.pair_of(EndpointName.of(found.name.model, alias), pairs)[0]
        if found is None:
            of = f" of {model[:60]!a}" if model is not None else ""
            raise NotDeployed(
                f"cannot find an endpoint{of}; PUT /endpoints/<model>@<alias> makes one"
            )
        return await self.view(self.pair_of(found.name, pairs), pairs)

    async def history(self, name: EndpointName, limit: int) -> list[Rollout]:
        """The rollouts of an endpoint, newest first. Raises as :meth:`get`."""
        endpoint, _ = self.pair_of(name, await self.pairs())
        return await self._rollouts.rollouts(endpoint, limit)

    async def events(self, name: EndpointName, limit: int) -> list[RolloutEvent]:
        """What happened to an endpoint, newest first. Raises as :meth:`get`."""
        endpoint, _ = self.pair_of(name, await self.pairs())
        return await self._rollouts.events(endpoint, limit)

    async def comparison(self, name: EndpointName, rollout: int | None) -> dict[str, Any]:
        """Champion against candidate: the verdict and its reason first, then the figures, as JSON.

        Args:
            rollout: its id; None: the newest one.

        Raises:
            NotDeployed: there is no such endpoint or rollout.
        """
        endpoint, newest = self.pair_of(name, await self.pairs())
        if rollout is not None and (newest is None or rollout != newest.id):
            known = await self._rollouts.rollouts(endpoint, 500)
            newest = next((one for one in known if one.id == rollout), None)
        if newest is None:
            which = "rollout yet" if rollout is None else f"rollout {rollout}"
            raise NotDeployed(
                f"cannot compare the versions of {name}: it has no {which}; GET /endpoints/{name}/rollouts "
                "lists what there is"
            )
        return await self._compare(endpoint, newest)

    async def comparing(self, key: ModelKey) -> EndpointName | None:
        """The endpoint whose rollout compares a deployment with another now."""
        for endpoint, rollout in await self.pairs():
            if rollout is not None and rollout.active:
                compared = (endpoint.key(rollout.candidate), rollout.champion)
                if key == compared[0] or key == (compared[1] and endpoint.key(compared[1])):
                    return endpoint.name
        return None

    def users_of(self, key: ModelKey) -> list[EndpointName]:
        """The endpoints that use a deployment now, as champion, candidate or previous champion."""
        return [endpoint.name for endpoint in self._loop.users_of(key)]

    async def pairs(self) -> list[Pair]:
        return [pair for pair in await self._store.all() if not pair[0].deleting]

    async def find_pair(self, name: EndpointName) -> Pair | None:
        pairs = await self.pairs()
        return next((pair for pair in pairs if pair[0].name == name), None)

    def pair_of(self, name: EndpointName, pairs: list[Pair]) -> Pair:
        for pair in pairs:
            if pair[0].name == name:
                return pair
        raise NotDeployed(
            f"cannot find {name}: there is no such endpoint; PUT /endpoints/{name} makes it"
        )

    async def view(self, pair: Pair, pairs: list[Pair]) -> EndpointView:
        endpoint, rollout = pair
        rows = {row.key: row for row in await self._deployments.all()}
        judgement = self._loop.judgement_of(rollout) if rollout else None
        default = default_of(endpoint.name.model, pairs)
        return view(endpoint, rollout, rows, judgement, default=default == endpoint)
