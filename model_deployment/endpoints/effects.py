"""Carries out what was decided about endpoints and rollouts."""

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime

from model_deployment.core.domain import Deployment, Desired, State
from model_deployment.core.endpoints import Endpoint, Rollout, RolloutKind, RolloutState
from model_deployment.core.errors import (
    InvalidRequest,
    ModelDeploymentError,
    NotDeployed,
    NotEnoughMemory,
    UnknownModel,
)
from model_deployment.core.names import ModelKey
from model_deployment.core.options import OptionOverrides
from model_deployment.core.rollouts import recreates
from model_deployment.endpoints.collaborators import Candidate, RolloutCollaborators
from model_deployment.endpoints.decide import (
    Action,
    Arrived,
    Begin,
    Deploy,
    Do,
    Enter,
    Follow,
    GoBack,
    Notice,
    Recreate,
    Refusal,
    Unmoved,
    Wait,
    Work,
)
from model_deployment.endpoints.evidence import RolloutEvidence
from model_deployment.endpoints.progress import Progress, broken_off

_log = logging.getLogger(__name__)

Rows = dict[ModelKey, Deployment]


class RolloutEffects:
    """Writes first, acts second: what a crash cuts off is found undone, and done again."""

    def __init__(self, world: RolloutCollaborators, progress: Progress) -> None:
        self._world = world
        self._progress = progress

    async def follow(self, endpoint: Endpoint, rollout: Rollout | None, what: Follow) -> bool:
        """Do what the alias asks for; whether a row was changed.

        Raises:
            IllegalTransition: a row has changed since it was read.
        """
        world = self._world
        match what:
            case Unmoved():
                return False
            case Notice(text):
                await world.store.observe(endpoint, endpoint.alias_version, text)
            case Arrived(version):
                await world.store.observe(endpoint, version, "")
            case GoBack(version, reason):
                assert rollout is not None  # noqa: S101 - there is one to go back from
                await self.roll_back(endpoint, rollout, reason, alias_version=version)
            case Begin(version, kind, reason):
                await self._begin(endpoint, rollout, version, kind, reason)
        return True

    async def _begin(
        self,
        endpoint: Endpoint,
        rollout: Rollout | None,
        version: int,
        kind: RolloutKind,
        reason: str,
    ) -> None:
        text = f"the alias moved on to version {version}"
        if rollout is not None and rollout.active and recreates(rollout):
            # Its champion was stopped, and the next candidate is compared with it.
            await self.roll_back(endpoint, rollout, text)
            rollout = None
        await self._world.rollouts.begin(endpoint, version, kind, reason)
        if rollout is not None and rollout.active:
            superseded = replace(
                rollout, state=RolloutState.SUPERSEDED, reason=text, ended_at=datetime.now(UTC)
            )
            self._tell(endpoint, rollout, superseded)

    async def apply(
        self, subject: Candidate | None, rollout: Rollout, endpoint: Endpoint, action: Action
    ) -> bool:
        """Do what was decided about a rollout; whether a row was changed.

        Args:
            subject: the rollout with its deployments; None while the candidate has none.

        Raises:
            IllegalTransition: a row has changed since it was read.
        """
        match action:
            case Wait(reason):
                if reason != rollout.reason:
                    await self._world.rollouts.hold(rollout, reason)
                return False
            case Deploy():
                self._progress.work.start(
                    rollout.id, Work.DEPLOY, lambda: self._deploy_candidate(endpoint, rollout)
                )
                return False
            case Recreate(reason):
                await self._recreate(endpoint, rollout, reason)
            case Do(work, reason):
                assert subject is not None  # noqa: S101 - only what is ready is examined
                await self._world.rollouts.hold(rollout, reason)
                self._progress.work.start(rollout.id, work, lambda: self._examine(subject, work))
                return False
            case Enter(RolloutState.ROLLED_BACK, _, reason):
                await self.roll_back(endpoint, rollout, reason)
            case Enter(state, step, reason):
                moved = await self._world.rollouts.move(rollout, state, reason, step=step)
                self._tell(endpoint, rollout, moved)
        return True

    async def roll_back(
        self, endpoint: Endpoint, rollout: Rollout, reason: str, alias_version: int | None = None
    ) -> None:
        """End a rollout with its champion, which was stopped if it was to be recreated."""
        if recreates(rollout) and rollout.champion is not None:
            key = endpoint.key(rollout.champion)
            try:
                await self.want(key, endpoint, admit=False)
            except ModelDeploymentError as error:  # the loop goes on trying
                _log.error("cannot deploy %s, which %s needs: %s", key, endpoint.name, error.detail)
        moved = await self._world.rollouts.move(
            rollout, RolloutState.ROLLED_BACK, reason, alias_version=alias_version
        )
        self._tell(endpoint, rollout, moved)

    def _tell(self, endpoint: Endpoint, before: Rollout, after: Rollout) -> None:
        fields = {"endpoint": str(endpoint.name), "version": after.candidate}
        stopped = after.state is RolloutState.ROLLED_BACK
        level = logging.WARNING if stopped else logging.INFO
        _log.log(level, "%s -> %s: %s", before.state, after.state, after.reason, extra=fields)
        if not after.active:
            self._progress.work.cancel(after.id)
            self._world.ended(endpoint, after)

    async def _deploy_candidate(self, endpoint: Endpoint, rollout: Rollout) -> None:
        try:
            key = endpoint.key(rollout.candidate)
            # Where the champion makes room, memory is not asked for: it is there afterwards.
            await self.want(
                key, endpoint, admit=not RolloutEvidence.from_dict(rollout.evidence).recreate
            )
        except Exception as error:
            self._progress.refused(rollout.id, _refusal(error))
        else:
            self._progress.deployed(rollout.id)

    async def want(self, key: ModelKey, endpoint: Endpoint, *, admit: bool = True) -> None:
        """Have a version deployed, with the endpoint's options unless it is deployed already.

        Raises:
            ModelDeploymentError: it cannot be deployed now.
        """
        row = await self._world.deployments.get(key)
        try:
            options = OptionOverrides.from_dict(endpoint.policy.options)
        except ValueError as error:
            raise InvalidRequest(f"cannot deploy {key} with these options: {error}") from error
        if row is not None and row.desired is Desired.RUNNING and row.state is not State.FAILED:
            options = OptionOverrides()  # shared as it is
        else:
            await self._world.store.claim(key)
        await self._world.controller.deploy(
            key, options, 0.0, by=f"endpoint {endpoint.name}", admit=admit
        )

    async def _recreate(self, endpoint: Endpoint, rollout: Rollout, reason: str) -> None:
        """The candidate takes the place of the champion: requests wait for it, then the champion stops.

        The champion makes room only for a candidate that could be deployed.
        """
        known = RolloutEvidence.from_dict(rollout.evidence)
        meant = replace(known, recreate=True, deployed=False)
        await self._world.rollouts.record(rollout, meant.as_dict())
        try:
            await self.want(endpoint.key(rollout.candidate), endpoint, admit=False)
        except Exception as error:
            self._progress.refused(rollout.id, _refusal(error))
            await self._world.rollouts.record(rollout, known.as_dict())
            return
        await self._world.rollouts.record(rollout, replace(meant, deployed=True).as_dict())
        await self._world.rollouts.note(endpoint, rollout, reason)

    async def undeploy(self, key: ModelKey) -> bool:
        """Let go of a deployment that no proxy routes to for an endpoint; False: try again."""
        row = await self._world.deployments.get(key)
        if row is None or row.desired is Desired.STOPPED:
            return True
        try:
            await self._world.controller.undeploy(key, 0.0)
        except NotDeployed:
            return True
        except ModelDeploymentError as error:
            _log.warning("cannot undeploy %s, which no endpoint uses: %s", key, error.detail)
            return False
        return True

    async def _examine(self, subject: Candidate, work: Work) -> None:
        began = time.monotonic()
        try:
            finding = await self._world.examine[work](subject)
        except Exception as error:
            _log.exception("the %s of %s broke off", work, subject.candidate.key)
            finding = broken_off(work, error)
        self._progress.found(subject.rollout.id, work, finding, time.monotonic() - began)


def _refusal(error: Exception) -> Refusal:
    match error:
        case NotEnoughMemory():
            return Refusal(error.detail, memory=True)
        case UnknownModel() | InvalidRequest():
            return Refusal(error.detail, permanent=True)
        case ModelDeploymentError():
            return Refusal(error.detail)
        case _:
            _log.error("cannot deploy a candidate", exc_info=error)
            return Refusal(f"its deployment broke off: {type(error).__name__}: {error}")
