"""The loop of endpoints: look at the aliases, take each rollout a step on, tell the proxies, tidy up."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Container, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from model_deployment.core.domain import Deployment, Desired, State
from model_deployment.core.endpoints import Endpoint, EndpointRoute, Pair, Rollout, RolloutKind
from model_deployment.core.errors import IllegalTransition, ModelDeploymentError, Unavailable
from model_deployment.core.names import ModelKey
from model_deployment.core.rollouts import recreates
from model_deployment.endpoints.aliases import AliasWatch
from model_deployment.endpoints.collaborators import Candidate, RolloutCollaborators
from model_deployment.endpoints.decide import decide, follow
from model_deployment.endpoints.effects import RolloutEffects, Rows
from model_deployment.endpoints.evidence import RolloutEvidence
from model_deployment.endpoints.findings import Judgement
from model_deployment.endpoints.kept_ready import KeptReady
from model_deployment.endpoints.observe import observe
from model_deployment.endpoints.progress import Progress
from model_deployment.endpoints.route import routes
from model_deployment.endpoints.usage import needed_ready, users
from model_deployment.state.database import DatabaseError

_log = logging.getLogger(__name__)

#: Seconds between two ticks, and before the tick after one that changed something.
_TICK, _SOON = 1.0, 0.02
#: Seconds that proxies may take to route as they are told, before a tick goes on without.
_ROUTED = 10.0
#: Seconds before a champion is deployed again: one that was undeployed, and one that has failed.
_AGAIN, _FAILED_AGAIN = 10.0, 60.0
#: Events and rollouts kept of each endpoint, and ticks between two prunings.
_KEPT, _PRUNE = 500, 600


class EndpointLoop:
    """Works for all endpoints, one after the other."""

    def __init__(
        self, world: RolloutCollaborators, aliases: AliasWatch, kept_ready: KeptReady
    ) -> None:
        self._world = world
        self._kept_ready = kept_ready
        self._aliases = aliases
        aliases.changed = self.wake
        self._progress = Progress(self.wake)
        self._effects = RolloutEffects(world, self._progress)
        self._wake = asyncio.Event()
        #: Set, and replaced by a new event, after each tick.
        self.changed = asyncio.Event()
        self._routes: list[EndpointRoute] | None = None
        self._used: dict[ModelKey, list[Endpoint]] = {}
        #: When champions were deployed again.
        self._again: dict[ModelKey, float] = {}
        self._begun = self._ended = 0
        #: Held while deployments are let go of, and while one of them is made the champion again.
        self._letting_go = asyncio.Lock()
        self._closing = False

    def wake(self) -> None:
        """Have a tick now."""
        self._wake.set()

    def look(self) -> None:
        """Look at the aliases now."""
        self._aliases.hurry()

    def users_of(self, key: ModelKey) -> list[Endpoint]:
        """The endpoints that use a deployment now."""
        return self._used.get(key, [])

    def judgement_of(self, rollout: Rollout) -> Judgement | None:
        """What the guards said last; None if they have not looked since the controller's start."""
        return self._progress.judgements.get(rollout.id)

    async def run(self) -> None:
        """Tick until cancelled. An error of one tick is logged, and the next one tries again."""
        while True:
            self._wake.clear()
            self._begun += 1
            changed = False
            try:
                changed = await self.tick()
            except Exception:
                _log.exception("cannot look after the endpoints")
            self._ended = self._begun
            self.announce()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _SOON if changed else _TICK)

    async def tick(self) -> bool:
        """Handle every endpoint once; whether something has changed."""
        world = self._world
        pairs = await world.store.all()
        self._aliases.watch(endpoint.name.model for endpoint, _ in pairs if not endpoint.deleting)
        rows = {row.key: row for row in await world.deployments.all()} if pairs else {}
        changed = False
        for endpoint, rollout in pairs:
            try:
                changed |= await self._step(endpoint, rollout, rows)
            except IllegalTransition as error:
                _log.info("%s", error.detail)
                changed = True  # the next tick sees what has changed meanwhile
            except DatabaseError as error:
                _log.error("cannot write the state: %s", error)
            except Exception:
                _log.exception("cannot look after the endpoint %s", endpoint.name)
        if changed:
            pairs = await world.store.all()
        changed |= self._publish(pairs, rows)
        await self._tidy(pairs)
        return changed

    def announce(self) -> None:
        """Wake everything that waits for a change."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    async def ticked(self) -> None:
        """Have a tick now, and wait for its end.

        Raises:
            Unavailable: the controller is stopping.
        """
        wanted = self._begun + 1
        self.wake()
        while self._ended < wanted:
            if self._closing:
                raise Unavailable("cannot wait: the controller is stopping", retry_after=5)
            await self.changed.wait()

    def stop_waiting(self) -> None:
        """End all waits: the controller is shutting down."""
        self._closing = True
        self.announce()

    async def routed(self) -> None:
        """Wait until all proxies route as the last tick told them."""
        await self._world.routed()

    async def restore(self, endpoint: Endpoint, rollout: Rollout, reason: str) -> None:
        """Make the champion of a promoted rollout the champion again: at once, if it is ready.

        Raises:
            IllegalTransition: the rollout has changed meanwhile.
        """
        assert rollout.champion is not None  # noqa: S101 - the caller has looked
        async with self._letting_go:
            row = await self._world.deployments.get(endpoint.key(rollout.champion))
            if row is not None and row.state is State.READY and row.desired is Desired.RUNNING:
                await self._effects.roll_back(endpoint, rollout, reason)
                return
        await self._world.rollouts.begin(
            endpoint, rollout.champion, RolloutKind.BACK, reason, follows=False
        )

    async def close(self) -> None:
        await self._aliases.close()
        await self._progress.work.close()

    async def _step(self, endpoint: Endpoint, rollout: Rollout | None, rows: Rows) -> bool:
        """Take one endpoint a step on; whether a row was changed."""
        if endpoint.deleting:
            return False
        seen = self._aliases.seen(endpoint.name)
        if seen is not None and await self._effects.follow(
            endpoint, rollout, follow(endpoint, rollout, seen)
        ):
            return True
        if rollout is None or not rollout.active:
            if rollout is not None and not rollout.evidence.get("told"):
                self._world.ended(endpoint, rollout)  # the controller that ended it was killed
            await self._keep_champion(endpoint, rows)
            await self._wake_previous(endpoint, rows)
            return False
        return await self._advance(endpoint, rollout, rows)

    async def _advance(self, endpoint: Endpoint, rollout: Rollout, rows: Rows) -> bool:
        stored = RolloutEvidence.from_dict(rollout.evidence)
        found = replace(stored, **self._progress.findings(rollout.id))
        # Read after what was found: a deploy that has ended meanwhile is in the row.
        candidate = await self._world.deployments.get(endpoint.key(rollout.candidate))
        stays = await self._champion_stays(endpoint, rollout)
        seen, known, judgement = observe(
            self._world, self._progress, endpoint, rollout, candidate, found, stays
        )
        if judgement is not None:
            self._progress.judgements[rollout.id] = judgement
        if known != stored:
            await self._world.rollouts.record(rollout, known.as_dict())
            rollout = replace(rollout, evidence=known.as_dict())
        if not recreates(rollout):
            await self._keep_champion(endpoint, rows)
        subject = None
        if candidate is not None:
            champion = _row(rows, endpoint, rollout.champion)
            subject = Candidate(endpoint, rollout, candidate, champion)
        action = decide(endpoint, rollout, seen)
        return await self._effects.apply(subject, rollout, endpoint, action)

    async def _champion_stays(self, endpoint: Endpoint, rollout: Rollout) -> str:
        """Why the champion must not be stopped to make room; empty if it may be."""
        if rollout.champion is None or not endpoint.policy.recreate:
            return ""
        key = endpoint.key(rollout.champion)
        for other in self.users_of(key):
            if other.id != endpoint.id:
                return f"the endpoint {other.name} uses version {key.version} as well"
        if key not in await self._world.store.claimed():
            return f"version {key.version} was deployed by hand"
        return ""

    async def _keep_champion(self, endpoint: Endpoint, rows: Rows) -> None:
        """Deploy the champion again if somebody has undeployed it, a restore has lost it, or it failed."""
        if endpoint.champion is None:
            return
        key, now = endpoint.key(endpoint.champion), time.monotonic()
        row = rows.get(key)
        failed = row is not None and row.state is State.FAILED
        if row is not None and row.desired is Desired.RUNNING and not failed:
            return
        # A failed one is not tried at once: what it fails of takes longer to go.
        before = self._again.setdefault(key, now) if failed else self._again.get(key)
        if before is not None and now - before < (_FAILED_AGAIN if failed else _AGAIN):
            return
        self._again[key] = now
        try:
            await self._effects.want(key, endpoint)
            await self._world.rollouts.note(
                endpoint, None, f"version {endpoint.champion} is deployed again, since it serves"
            )
        except ModelDeploymentError as error:
            _log.error("cannot deploy %s, which %s needs: %s", key, endpoint.name, error.detail)

    async def _wake_previous(self, endpoint: Endpoint, rows: Rows) -> None:
        """Have the previous champion ready if it was parked while it was the champion."""
        row = _row(rows, endpoint, endpoint.previous)
        if row is None or row.state is not State.PARKED or endpoint.previous_until is None:
            return
        now = time.monotonic()
        if now - self._again.get(row.key, -_AGAIN) < _AGAIN or row.desired is Desired.STOPPED:
            return
        self._again[row.key] = now
        try:
            await self._effects.want(row.key, endpoint)
        except ModelDeploymentError as error:
            _log.warning(
                "cannot wake %s, the way back of %s: %s", row.key, endpoint.name, error.detail
            )

    def _publish(self, pairs: Sequence[Pair], rows: Rows) -> bool:
        """Tell the proxies; whether there was something new to tell."""
        self._used = users(pairs)
        self._kept_ready.replace(needed_ready(pairs), rows.values())
        self._progress.keep(
            rollout.id for endpoint, rollout in pairs if rollout and not endpoint.deleting
        )
        self._again = {key: at for key, at in self._again.items() if key in self._used}
        wanted = routes(pairs, {key for key, row in rows.items() if row.state is State.FAILED})
        if wanted == self._routes:
            return False
        self._world.publish(wanted)
        self._routes = wanted
        return True

    async def _tidy(self, pairs: Sequence[Pair]) -> None:
        """Let go of what no endpoint uses any more, once no proxy routes to it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ROUTED):
                await self._world.routed()
        world, now = self._world, datetime.now(UTC)
        for endpoint, _ in pairs:
            if endpoint.previous_until is not None and endpoint.previous_until <= now:
                await world.store.release_previous(endpoint)
        async with self._letting_go:
            await self._let_go({(r.id, recreates(r)) for _, r in pairs if r is not None})
        for endpoint, _ in pairs:
            if endpoint.deleting:
                await world.store.remove(endpoint)
        if self._begun % _PRUNE == 0:
            await world.rollouts.prune(_KEPT)

    async def _let_go(self, told: Container[tuple[int, bool]]) -> None:
        """Undeploy what is neither used by what the proxies were told nor by what is there now.

        Args:
            told: the newest rollouts as the proxies were told, and whether each takes its champion's
                place.
        """
        world = self._world
        pairs = await world.store.all()
        claimed = await world.store.claimed()
        used = users(pairs)
        for endpoint, rollout in pairs:
            if rollout is None or not rollout.active or rollout.champion is None:
                continue
            key = endpoint.key(rollout.champion)
            alone = key in claimed and all(user.id == endpoint.id for user in used.get(key, []))
            if recreates(rollout) and (rollout.id, True) in told and alone:
                await self._effects.undeploy(key)
        for key in claimed - self._used.keys() - used.keys():
            if await self._effects.undeploy(key):
                await world.store.disown(key)


def _row(rows: Rows, endpoint: Endpoint, version: int | None) -> Deployment | None:
    return None if version is None else rows.get(endpoint.key(version))
