"""The use cases that change a deployment in place: its options, a restart, parking."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from model_deployment.control.controller import Controller
from model_deployment.control.estimate import Estimate
from model_deployment.control.reconciler import Reconciler
from model_deployment.core.actions import Policy
from model_deployment.core.domain import Deployment, Desired, State
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import (
    ChangeFailed,
    Conflict,
    IllegalTransition,
)
from model_deployment.core.launch_lifecycle import time_to_begin
from model_deployment.core.measures import MachineMemory
from model_deployment.core.names import ModelKey
from model_deployment.core.option_changes import (
    described,
    measured_alike,
    merging_after,
    needs_launch,
)
from model_deployment.core.options import OptionOverrides, Options
from model_deployment.core.replacement import ReplacementState, Strategy
from model_deployment.state.deployments import Deployments
from model_deployment.state.replacements import Replacements


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Writes what operators want of deployments that exist; the control loop obeys."""

    controller: Controller
    deployments: Deployments
    replacements: Replacements
    reconciler: Reconciler
    policy: Policy
    memory: Callable[[], MachineMemory]
    #: The endpoint whose rollout compares a deployment with another now.
    compared_by: Callable[[ModelKey], Awaitable[EndpointName | None]]

    async def deploy(
        self,
        key: ModelKey,
        overrides: OptionOverrides,
        wait: float,
        *,
        by: str | None,
        strategy: Strategy | None,
        wanted: Callable[[ModelKey], Awaitable[None]],
    ) -> Deployment:
        """As :meth:`Controller.deploy`, but with a strategy other options are changed in place.

        Raises as :meth:`change`, too.
        """
        row = await self.deployments.get(key)
        running = row is not None and row.desired is Desired.RUNNING
        if row is not None and strategy and running and row.state is not State.FAILED:
            options = overrides.apply_to(row.options)
            if options != row.options:
                await wanted(key)
                return await self._change(key, lambda _: options, wait, by, strategy)
        return await self.controller.deploy(key, overrides, wait, by=by, wanted=wanted)

    async def change(
        self,
        key: ModelKey,
        values: Mapping[str, Any],
        wait: float,
        *,
        by: str | None = None,
        strategy: Strategy = Strategy.BESIDE,
    ) -> Deployment:
        """Give a deployment other options; wait until it has them.

        A launch that is ready is replaced, unless it can have all of them without. Otherwise the next
        launch has them; a deployment that failed is started at once.

        Args:
            values: options by name; None is the default.
            by: the user, for the events.

        Returns:
            The deployment as it is after at most ``wait`` seconds.

        Raises:
            NotDeployed: there is no such deployment.
            Conflict: it is undeployed, or another change is under way.
            InvalidRequest, CannotStart: the options do not fit each other, or this machine.
            NoFreePort, NotEnoughMemory: there is no room for a second launch.
            ChangeFailed: the new launch failed; the one before goes on.
        """
        defaults = self.controller.defaults
        given = {
            name: getattr(defaults, name) if value is None else value
            for name, value in values.items()
        }
        return await self._change(key, lambda row: replace(row, **given), wait, by, strategy)

    async def _change(
        self,
        key: ModelKey,
        options_of: Callable[[Options], Options],
        wait: float,
        by: str | None,
        strategy: Strategy,
    ) -> Deployment:
        end = time.monotonic() + wait
        row = await self._changeable(key, "change", wait)
        options = options_of(row.options)
        difference = described(row.options, options)
        if not difference:
            return row
        purpose = _by(f"change of {difference}", by)
        at_once = row.state is State.READY and not needs_launch(row, options)
        await self.controller.checks.check(f"change {key}", options, starts=not at_once)
        await self.controller.room.check_replicas(key, row.options, options)
        if at_once:
            merging = merging_after(row, options)
            await self._write(self.replacements.change_options(row, options, merging, purpose), key)
            await self.reconciler.ticked(_left(end))
            return await self.controller.wait(key, self.controller.is_complete, _left(end))
        return await self._launch_anew(row, options, purpose, strategy, end)

    async def restart(
        self,
        key: ModelKey,
        wait: float,
        *,
        by: str | None = None,
        strategy: Strategy = Strategy.BESIDE,
    ) -> Deployment:
        """Start a new launch with the same options beside the one that serves, then switch.

        Without a launch, one is started at once. Raises as :meth:`change`.
        """
        end = time.monotonic() + wait
        row = await self._changeable(key, "restart", wait)
        if row.state is State.PARKED or row.parking:
            return await self.controller.deploy(key, OptionOverrides(), wait)
        return await self._launch_anew(row, row.options, _by("restart", by), strategy, end)

    async def park(self, key: ModelKey, wait: float, *, by: str | None = None) -> Deployment:
        """Stop a ready deployment once its requests are answered; the next request starts it again.

        Raises:
            NotDeployed: there is no such deployment.
            Conflict: it is not ready, is being changed, or an endpoint needs it.
        """
        row = await self.controller.get(key)
        if row.state is State.PARKED:
            return row
        if row.state is not State.READY or row.desired is Desired.STOPPED:
            raise Conflict(
                f"cannot park {key}: it is {row.state}; only a ready deployment can be parked"
            )
        if row.replacement is not None and row.replacement.under_way:
            raise Conflict(f"cannot park {key}: it is being changed ({row.replacement.purpose})")
        await self.deployments.forget_failure(key)
        self.reconciler.request_park(key, _by("parked", by))
        left = (State.PARKED, State.PENDING, State.STARTING, State.STOPPED, State.FAILED)
        return await self.controller.wait(key, lambda r: r.state in left, wait)

    async def estimate(self, key: ModelKey, overrides: OptionOverrides) -> Estimate:
        """What a deploy with these options would take; changes nothing."""
        row = await self.deployments.get(key)
        running = row is not None and row.desired is Desired.RUNNING
        options = overrides.apply_to(row.options if row and running else self.controller.defaults)
        alike = row is not None and measured_alike(row, options, row.artifact)
        measured = row.memory if row is not None and alike else None
        memory, ports = self.memory(), await self.controller.ports()
        artifact = row.artifact if row else ""
        admission = self.controller.room.admission
        return Estimate(
            memory_needed=admission.need(options, measured, artifact) * options.replicas.min
            + admission.parent(artifact, options)[1],
            memory_available=memory.available,
            memory_total=memory.total,
            ports_free=ports.free,
            options=options,
            defaults=self.controller.defaults,
            shortage=await self.controller.room.shortage(key, options, measured),
        )

    async def _changeable(self, key: ModelKey, what: str, wait: float) -> Deployment:
        """The deployment, once nothing but requests of launches before is left of an earlier change.

        Raises:
            NotDeployed, Conflict: see :meth:`change`.
        """
        row = await self.controller.wait(key, lambda r: not _finishes(r), wait)
        if row.desired is Desired.STOPPED:
            raise Conflict(
                f"cannot {what} {key}: it is undeployed; deploy it with the options that it is to have"
            )
        # A launch that goes away under a comparison would count against the candidate.
        if endpoint := await self.compared_by(key):
            raise Conflict(
                f"cannot {what} {key}: the rollout of {endpoint} compares it with another version now; "
                "try again when the rollout has ended",
                extra={"endpoints": [str(endpoint)]},
            )
        # Where replicas are still replaced one after another, they may be replaced by others at once.
        if row.replacement is not None and (row.replacement.under_way or _finishes(row)):
            raise Conflict(
                f"cannot {what} {key}: another change is under way ({row.replacement.purpose}); try "
                "again once it has ended",
                retry_after=1,
            )
        return row

    async def _launch_anew(
        self, row: Deployment, options: Options, purpose: str, strategy: Strategy, end: float
    ) -> Deployment:
        key = row.key
        if row.state not in (State.READY, State.STARTING):
            await self._write(self.replacements.change_options(row, options, None, purpose), key)
            return await self._settled(key, end)
        if row.state is State.STARTING:  # nothing serves that could go on
            strategy = Strategy.RECREATE
        if strategy is Strategy.BESIDE:
            await self.controller.room.check_second_launch(row, options)
        deadline = time.monotonic() + time_to_begin(options, self.policy)
        asked = await self._write(
            self.replacements.ask(row, options, strategy, purpose, deadline), key
        )
        assert asked.replacement is not None  # noqa: S101 - it was just written
        return await self._replaced(key, asked.replacement.id, purpose, end)

    async def _replaced(self, key: ModelKey, id: int, purpose: str, end: float) -> Deployment:
        """The deployment once a replacement has ended, as far as callers notice."""

        def done(row: Deployment) -> bool:
            it = row.replacement
            mine = it is not None and it.id == id and not it.is_over
            # Where replicas are replaced one after another, a launch that fails may hold that up for long.
            rolls = it is not None and not it.under_way
            going_on = (
                mine and not _finishes(row) and not (rolls and self.controller.is_held_up(row))
            )
            return not going_on or row.desired is Desired.STOPPED

        row = await self.controller.wait(key, done, _left(end))
        if row.desired is Desired.STOPPED:
            raise Conflict(f"cannot change {key}: it was undeployed in the meantime")
        it = row.replacement
        if it is not None and it.id == id and it.is_over:
            raise ChangeFailed(
                f"cannot make the {purpose} of {key}: {it.reason}. {_go_on(row)}",
                extra={
                    "name": str(key),
                    "reason": it.reason,
                    "launch_id": await self.replacements.failed_launch(row),
                },
            )
        failed = it is not None and it.is_over
        if not failed and row.state is not State.READY:
            return await self._settled(key, end)
        return row

    async def _settled(self, key: ModelKey, end: float) -> Deployment:
        return await self.controller.wait(
            key, lambda r: r.settled or r.desired is Desired.STOPPED, _left(end)
        )

    async def _write(self, change: Awaitable[Deployment], key: ModelKey) -> Deployment:
        try:
            changed = await change
        except IllegalTransition as error:
            raise Conflict(
                f"cannot change {key}: its state has just changed; try again", retry_after=1
            ) from error
        self.reconciler.wake()
        self.reconciler.announce()
        return changed


def _finishes(row: Deployment) -> bool:
    """Whether all replicas have a change, and launches before it still answer their requests."""
    it = row.replacement
    rolling = it is not None and it.state is ReplacementState.ROLLING
    return rolling and all(one.generation == row.generation for one in row.serving)


def _go_on(row: Deployment) -> str:
    if len(row.serving) > 1:
        return "The launches before go on with their options"
    return "The launch before goes on with its options"


def _by(what: str, by: str | None) -> str:
    return f"{what} by {by}" if by else what


def _left(end: float) -> float:
    return max(0.0, end - time.monotonic())
