"""Carries out what was decided of deployments: what is to serve, not how a launch gets there."""

import logging
from dataclasses import dataclass
from typing import assert_never

from model_deployment.control.adoption import log_fields
from model_deployment.control.effects import LaunchEffects, find
from model_deployment.control.tick import Tick
from model_deployment.core.actions import (
    AddReplica,
    DeploymentAction,
    EndReplacement,
    FailReplacement,
    HandOver,
    Nothing,
    Park,
    RefuseWake,
    Retire,
    Settle,
    Wake,
)
from model_deployment.core.domain import Deployment, Launch, LaunchState
from model_deployment.core.errors import NotEnoughMemory

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DeploymentEffects:
    """One method for each action; each returns the deployment as it is afterwards."""

    #: Those of launches.
    effects: LaunchEffects

    async def apply(self, row: Deployment, action: DeploymentAction, tick: Tick) -> Deployment:
        """Carry out one action.

        Raises:
            IllegalTransition: the row has changed since it was read; nothing was done.
        """
        if isinstance(action, Nothing):
            return row
        changed = await self._apply(row, action, tick)
        await self.effects.release_ports(row, changed, tick)
        if changed is not row:  # launches go on from here
            self.effects.wake()
        return changed

    async def _apply(self, row: Deployment, action: DeploymentAction, tick: Tick) -> Deployment:
        deployments = self.effects.deployments
        match action:
            case Nothing():
                return row
            case Settle(state, reason):
                return await deployments.settle(row, state, reason)
            case Wake(reason):
                return await deployments.rouse(row, reason)
            case RefuseWake(reason):
                error = NotEnoughMemory.of(f"predict with {row.key}, which is parked", reason)
                self.effects.world.refuse(row.key, error)
                return row
            case Park(reason):
                return await deployments.park(row, reason)
            case AddReplica(reason):
                return await self.effects.launches.add(row, reason)
            case Retire(launch, reason):
                return await self._retire(row, launch, reason, tick)
            case HandOver() | EndReplacement() | FailReplacement():
                return await self._go_on_with_replacement(row, action)
            case never:
                assert_never(never)

    async def _go_on_with_replacement(
        self, row: Deployment, action: HandOver | EndReplacement | FailReplacement
    ) -> Deployment:
        match action:
            case HandOver():
                for launch in row.launches:
                    self.effects.background.drop_artifact(row, launch)
                return await self.effects.replacements.hand_over(row)
            case EndReplacement():
                return await self.effects.replacements.end(row)
            case FailReplacement(reason):
                return await self._fail(row, reason)
            case never:
                assert_never(never)

    async def _retire(self, row: Deployment, launch: Launch, reason: str, tick: Tick) -> Deployment:
        policy = self.effects.policy
        serves = launch.state is LaunchState.READY
        until = self.effects.world.clock() + (
            policy.drain_timeout if serves else policy.cancel_grace
        )
        changed = await self.effects.launches.retire(row, launch, reason, until)
        self.effects.publisher.publish_one(changed, closing=tick.closing)
        if launch.state is LaunchState.STARTING:
            await self.effects.signal(find(changed, launch.id))
        elif launch.state is LaunchState.PENDING:
            self.effects.background.drop_artifact(changed, launch)
        return changed

    async def _fail(self, row: Deployment, reason: str) -> Deployment:
        coming = row.coming
        if row.replacement is not None:
            fields = log_fields(row, coming)
            _log.warning("%s failed: %s", row.replacement.purpose, reason, extra=fields)
        changed = await self.effects.replacements.fail(row, reason, self.effects.world.clock())
        if coming is not None:
            if coming.state is LaunchState.PENDING:
                self.effects.background.drop_artifact(changed, coming)
            await self.effects.signal(find(changed, coming.id))
        return changed
