"""One step of a launch, or of a deployment: observe, decide, apply."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from model_deployment.control.background import BackgroundWork
from model_deployment.control.collaborators import Collaborators
from model_deployment.control.deployment_effects import DeploymentEffects
from model_deployment.control.effects import LaunchEffects, find
from model_deployment.control.observer import Observer
from model_deployment.control.places import Places
from model_deployment.control.publisher import Publisher
from model_deployment.control.scaler import Scaler
from model_deployment.control.tick import Tick
from model_deployment.core.actions import AddReplica, Policy, RefuseWake, Wake
from model_deployment.core.deployment_lifecycle import decide_deployment
from model_deployment.core.domain import Deployment
from model_deployment.core.events import Note
from model_deployment.core.launch_lifecycle import decide_launch
from model_deployment.core.names import ModelKey
from model_deployment.core.replica_counts import progress
from model_deployment.core.scaling import Scaling
from model_deployment.state.deployments import Deployments
from model_deployment.state.launches import Launches
from model_deployment.state.ports import Ports
from model_deployment.state.replacements import Replacements


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Each returns the deployment as it is afterwards.

    Raises:
        IllegalTransition: the row has changed since it was read; nothing was done.
        DatabaseError: the state could not be written.
    """

    observer: Observer
    effects: LaunchEffects
    deployment_effects: DeploymentEffects
    scaler: Scaler
    policy: Policy
    #: Told that the requests that wait for a parked deployment were refused.
    refused: Callable[[ModelKey], None]
    #: Writes an event of a deployment.
    note: Note
    #: Why deployments get no further replica now.
    held_up: dict[ModelKey, str] = field(default_factory=dict)

    async def of_launch(self, id: int, tick: Tick, row: Deployment) -> Deployment:
        """What follows for the launch with this id, if there is still one."""
        launch = find(row, id)
        if launch is None:
            return row
        seen = await self.observer.observe(row, launch, tick)
        tick.unplaced += seen.memory_pressure
        action = decide_launch(row, launch, seen, self.effects.world.clock(), self.policy)
        return await self.effects.apply(row, launch, action, tick)

    async def of_deployment(self, tick: Tick, row: Deployment) -> Deployment:
        """What follows for all launches together."""
        now = self.effects.world.clock()
        seen = self.observer.observe_deployment(row, tick)
        action = decide_deployment(row, seen, now, self.policy)
        shortage = ""
        if isinstance(
            action, AddReplica | Wake
        ):  # only there it matters, and it costs a look at all
            shortage = self.observer.memory_shortage(row, tick)
            seen = replace(seen, memory_shortage=shortage)
        self._note_shortage(row, shortage if isinstance(action, AddReplica) else "")
        action = decide_deployment(row, seen, now, self.policy) if shortage else action
        changed = await self.deployment_effects.apply(row, action, tick)
        if isinstance(action, RefuseWake):
            self.refused(row.key)
        return changed

    async def scale(self, tick: Tick, row: Deployment) -> Deployment:
        """How many replicas are wanted, where they follow the requests."""
        return await self.scaler.scale(tick, row)

    def forget(self, *, except_for: Sequence[Deployment]) -> None:
        """Forget what was remembered of deployments that are gone."""
        self.scaler.forget(except_for=except_for)
        if self.held_up:
            for key in self.held_up.keys() - {row.key for row in except_for}:
                del self.held_up[key]

    def _note_shortage(self, row: Deployment, shortage: str) -> None:
        """Write once why a replica is not added; the figures may change with each look."""
        if not shortage:
            self.held_up.pop(row.key, None)
            return
        if row.key not in self.held_up:
            self.note(row.key, f"{progress(row)}, and memory has no room for another: {shortage}")
        self.held_up[row.key] = shortage


def build_steps(
    *,
    deployments: Deployments,
    launches: Launches,
    replacements: Replacements,
    ports: Ports,
    world: Collaborators,
    background: BackgroundWork,
    publisher: Publisher,
    policy: Policy,
    quarantine: float,
    start_concurrency: int,
    scaling: Scaling,
    wake: Callable[[], None],
    refused: Callable[[ModelKey], None],
    note: Note,
) -> Steps:
    """Put together what observes and what applies.

    Args:
        quarantine: seconds for which a released port gets no other launch.
        start_concurrency: launches that may be starting at a time.
        wake: has the loop tick soon.
        refused, note: see :class:`Steps`.
    """
    effects = LaunchEffects(
        deployments=deployments,
        launches=launches,
        replacements=replacements,
        places=Places(ports=ports, runtime=world.runtime, clock=world.clock),
        world=world,
        background=background,
        publisher=publisher,
        policy=policy,
        quarantine=quarantine,
        wake=wake,
    )
    observer = Observer(
        launches=launches,
        world=world,
        background=background,
        start_concurrency=start_concurrency,
        wake=wake,
    )
    return Steps(
        observer=observer,
        effects=effects,
        deployment_effects=DeploymentEffects(effects=effects),
        scaler=Scaler(deployments=deployments, ports=ports, world=world, limits=scaling, note=note),
        policy=policy,
        refused=refused,
        note=note,
    )
