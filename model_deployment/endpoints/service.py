"""The use cases: make, change, show and delete endpoints, and steer their rollouts."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Unpack

from model_deployment.core.domain import State
from model_deployment.core.endpoints import (
    Endpoint,
    EndpointName,
    Order,
    Rollout,
    RolloutKind,
    RolloutState,
)
from model_deployment.core.errors import (
    Conflict,
    InvalidRequest,
    Unavailable,
    UnknownModel,
    changed_meanwhile,
)
from model_deployment.core.events import by_user
from model_deployment.core.names import ModelKey
from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.endpoints.aliases import AskAliases
from model_deployment.endpoints.reader import EndpointReader, ReaderParts
from model_deployment.endpoints.views import EndpointView

#: Seconds within which the loop obeys an order.
_OBEYED = 10.0


class Endpoints(EndpointReader):
    """Writes what operators want; the loop obeys."""

    def __init__(self, aliases: AskAliases, **parts: Unpack[ReaderParts]) -> None:
        """``aliases`` answers the aliases of a model, as the registry has them now."""
        super().__init__(**parts)
        self._aliases = aliases
        #: The controller is shutting down.
        self._closing = False

    async def put(
        self, name: EndpointName, policy: Mapping[str, Any], by: str = ""
    ) -> tuple[EndpointView, bool]:
        """Make an endpoint, or change its policy.

        Args:
            policy: as :meth:`RolloutPolicy.from_dict` takes it; what is left out has its default.

        Returns:
            The endpoint, and whether it is new.

        Raises:
            InvalidRequest: it is no policy.
            UnknownModel: the registry has no such model or alias, and the endpoint is new.
            RegistryUnavailable: the registry does not answer, and the endpoint is new.
        """
        try:
            read = RolloutPolicy.from_dict(policy)
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"cannot use this policy: {error}") from error
        if await self.find_pair(name) is None:
            await self._look_up(name)
        new = await self._store.put(name, read, by_user("policy set", by))
        self._loop.look()
        await self._ticked()
        return await self.get(name), new

    async def _look_up(self, name: EndpointName) -> int:
        found = await self._aliases(name.model)
        if name.alias not in found:
            known = ", ".join(sorted(found)) or "none"
            raise UnknownModel(
                f"cannot follow {name}: the registry has no alias {name.alias} of {name.model} "
                f"(its aliases: {known}); set it in MLflow first"
            )
        return found[name.alias]

    async def delete(self, name: EndpointName, wait: float, by: str = "") -> None:
        """Delete an endpoint. Deployments that it alone asked for are undeployed.

        Raises:
            NotDeployed: there is no such endpoint.
        """
        endpoint, _ = self.pair_of(name, await self.pairs())
        await self._store.want_deleted(endpoint, by_user("deleted", by))
        self._loop.wake()

        async def gone() -> bool:
            return all(one.id != endpoint.id for one, _ in await self._store.all())

        await self._until(gone, wait)

    async def promote(self, name: EndpointName, by: str) -> EndpointView:
        """Make the candidate the champion now, whatever is missing.

        Without a rollout under way, the version that the alias names becomes the candidate and is promoted
        when it is ready.

        Args:
            by: the user, for the events; may be empty.

        Raises:
            NotDeployed: there is no such endpoint.
            Conflict: there is no candidate, or it is not ready.
        """
        endpoint, rollout = self.pair_of(name, await self.pairs())
        if rollout is None or not rollout.active:
            return await self._begin_again(
                endpoint, Order.PROMOTE, by_user("promote asked for", by)
            )
        row = await self._deployments.get(endpoint.key(rollout.candidate))
        if row is None or row.state is not State.READY:
            state = row.state if row else "not deployed yet"
            raise Conflict(
                f"cannot promote version {rollout.candidate} of {name}: its deployment is {state}; "
                "wait until it is ready"
            )
        return await self._order(endpoint, rollout, Order.PROMOTE, by_user("promote asked for", by))

    async def _begin_again(self, endpoint: Endpoint, order: Order, reason: str) -> EndpointView:
        version = endpoint.alias_version
        if version is None or version == endpoint.champion:
            what = "promote" if order is Order.PROMOTE else "resume"
            named = "no version" if version is None else f"version {version}, which serves"
            raise Conflict(
                f"cannot {what} {endpoint.name}: there is no candidate, and its alias names {named}; "
                "move the alias in MLflow first"
            )
        with changed_meanwhile(f"begin a rollout of {endpoint.name}"):
            await self._rollouts.begin(
                endpoint, version, RolloutKind.FORWARD, reason, order, follows=False
            )
        await self._ticked()
        return await self.get(endpoint.name)

    async def pause(self, name: EndpointName, by: str) -> EndpointView:
        """Keep the rollout where it is; the guards stay on. Raises as :meth:`promote`."""
        endpoint, rollout = self.pair_of(name, await self.pairs())
        if rollout is None or not rollout.active:
            raise Conflict(
                f"cannot pause {name}: no rollout is under way; move the alias to begin one"
            )
        return await self._order(endpoint, rollout, Order.PAUSE, by_user("paused", by))

    async def resume(self, name: EndpointName, by: str) -> EndpointView:
        """Let a paused rollout go on; without one, try the alias's version again.

        Raises as :meth:`promote`.
        """
        endpoint, rollout = self.pair_of(name, await self.pairs())
        if rollout is None or not rollout.active:
            return await self._begin_again(endpoint, Order.ADVANCE, by_user("tried again", by))
        return await self._order(endpoint, rollout, Order.ADVANCE, by_user("resumed", by))

    async def rollback(self, name: EndpointName, by: str) -> EndpointView:
        """Roll the candidate back; without one, make the previous champion the champion again.

        Asked for again while the previous champion is still being deployed, it goes on.

        Raises:
            NotDeployed: there is no such endpoint.
            Conflict: there is neither a candidate nor a previous champion that is kept ready.
        """
        endpoint, rollout = self.pair_of(name, await self.pairs())
        asked = by_user("rollback asked for", by)
        if rollout is not None and rollout.active:
            by_hand = rollout.candidate != endpoint.alias_version
            goes_back = rollout.kind is RolloutKind.BACK and by_hand
            order = Order.ADVANCE if goes_back else Order.ROLL_BACK
            return await self._order(endpoint, rollout, order, asked)
        with changed_meanwhile(f"begin a rollout of {name}"):
            if rollout is not None and rollout.state is RolloutState.PROMOTED and rollout.champion:
                await self._loop.restore(endpoint, rollout, asked)
            elif endpoint.previous is not None and endpoint.previous_until is not None:
                await self._rollouts.begin(
                    endpoint, endpoint.previous, RolloutKind.BACK, asked, follows=False
                )
            else:
                raise Conflict(
                    f"cannot roll {name} back: there is no version to go back to; move the alias in MLflow"
                )
        await self._ticked()
        return await self.get(name)

    async def set_default(self, model: str | None, alias: str, wait: float) -> EndpointView:
        """Make an endpoint the default one, and wait until the alias's version serves.

        The endpoint is made if there is none. Without a model, the one of the default endpoint is meant.

        Raises:
            NotDeployed: no model is given, and there is no default endpoint.
        """
        if model is None:
            model = (await self.find(None, None)).endpoint.name.model
        name = EndpointName.of(model, alias)
        if await self.find_pair(name) is None:
            await self.put(name, {})
        version = await self._look_up(name)
        endpoint, _ = self.pair_of(name, await self.pairs())
        await self._store.make_default(endpoint, "made the default endpoint")
        self._loop.look()

        async def settled() -> bool:
            endpoint, rollout = self.pair_of(name, await self.pairs())
            if endpoint.champion == version:
                row = await self._deployments.get(endpoint.key(version))
                return row is not None and row.settled
            refused = rollout is not None and not rollout.active and rollout.candidate == version
            return endpoint.alias_version == version and refused

        await self._until(settled, wait)
        return await self.get(name)

    async def disown(self, key: ModelKey) -> None:
        """Somebody else wants a deployment as well: it stays when no endpoint uses it any more."""
        await self._store.disown(key)

    def look(self) -> None:
        """Look at the aliases now: somebody said that one has moved."""
        self._loop.look()

    def stop_waiting(self) -> None:
        """End all waits: the controller is shutting down."""
        self._closing = True
        self._loop.stop_waiting()

    async def _order(
        self, endpoint: Endpoint, rollout: Rollout, order: Order, reason: str
    ) -> EndpointView:
        if not await self._rollouts.set_order(rollout, order, reason):
            raise Conflict(
                f"cannot steer the rollout of {endpoint.name}: it has just ended; see how"
            )
        self._loop.wake()

        async def obeyed() -> bool:
            _, newest = self.pair_of(endpoint.name, await self.pairs())
            ends = order in (Order.PROMOTE, Order.ROLL_BACK)
            return newest is None or newest.id != rollout.id or not (ends and newest.active)

        await self._until(obeyed, _OBEYED)
        return await self.get(endpoint.name)

    async def _until(self, done: Callable[[], Awaitable[bool]], limit: float) -> None:
        """Wait until something is done, and all proxies know it, for at most ``limit`` seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + limit
        while True:
            changed = self._loop.changed  # before the read, so that no change is missed
            if await done():
                return await self._loop.routed()
            left = end - loop.time()
            if left <= 0:
                return None
            if self._closing:
                raise Unavailable("cannot wait: the controller is stopping", retry_after=5)
            try:
                async with asyncio.timeout(min(left, 1.0)):
                    await changed.wait()
            except TimeoutError:
                continue

    async def _ticked(self) -> None:
        """Have what was written obeyed, and known to all proxies."""
        await self._loop.ticked()
        await self._loop.routed()
