"""A deployment with several replicas in memory, whose processes do what they are told, or fail.

There is no crash of a controller here: the rules are pure, so a new controller decides the same.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from model_deployment.core import deployment_lifecycle, launch_lifecycle
from model_deployment.core import replacement as replacements
from model_deployment.core.actions import (
    AddReplica,
    Artifact,
    CheckBatching,
    DeploymentAction,
    DeploymentObservation,
    EndReplacement,
    FailReplacement,
    Forget,
    GiveUp,
    HandOver,
    LaunchAction,
    Nothing,
    Observation,
    Park,
    Policy,
    Prepare,
    Promote,
    RefuseWake,
    Retire,
    RowIndependence,
    Settle,
    Start,
    Stop,
    Switch,
    Vacate,
    Wake,
)
from model_deployment.core.domain import (
    Address,
    Deployment,
    Desired,
    Exit,
    Handle,
    Launch,
    LaunchState,
    Rest,
    State,
    Step,
)
from model_deployment.core.measures import Health, LaunchTraffic
from model_deployment.core.replacement import ReplacementState, Strategy
from tests.support.row_in_memory import COMING, RETIRING, RowInMemory, deployed
from tests.support.rows import replacement

#: The lives of processes.
CRASHED = Exit("the process exited with status 1", 1)
ENDED = Exit("the process was killed by SIGTERM", -15)
UNFIT = Exit("ModuleNotFoundError: no module", 78, permanent=True)


@dataclass
class Process:
    """The processes of one launch."""

    #: Loads the model; else it exits with this.
    fails: Exit | None = None
    #: Ends when asked to; else it takes a SIGKILL.
    obeys: bool = True
    #: Unanswered requests.
    in_flight: int = 0
    #: Seconds since the last request.
    idle: float = 0.0
    exit: Exit | None = None


@dataclass
class ReplicaWorld(RowInMemory):
    """One deployment, its processes, and the control loop."""

    policy: Policy = field(default_factory=Policy)
    #: By launch id.
    processes: dict[str, Process] = field(default_factory=dict)
    #: What the next launches do.
    next: Process = field(default_factory=Process)
    wake_requested: bool = False
    park_requested: str = ""
    closing: bool = False
    #: What was decided of the deployment, and how many replicas were ready then.
    log: list[tuple[DeploymentAction, int]] = field(default_factory=list)
    #: All pairs of states that people saw.
    seen: set[tuple[State, State]] = field(default_factory=set)

    @classmethod
    def deployed(cls, replicas: int, **options: Any) -> "ReplicaWorld":
        """A deployment that was asked for a moment ago."""
        return cls(deployed(replicas, **options))

    @classmethod
    def serving(cls, replicas: int, **options: Any) -> "ReplicaWorld":
        """One whose replicas are all ready."""
        world = cls.deployed(replicas, **options)
        world.settle()
        assert len(world.row.ready) == replicas
        world.log.clear()
        return world

    # What callers ask for

    def change(self, strategy: Strategy = Strategy.BESIDE, **options: Any) -> None:
        """Other options, as ``PATCH`` asks for them; the replicas keep their number."""
        before = self.row.replacement
        assert not (before and before.under_way)
        assert replacements.check(before.state if before else None, ReplacementState.COMING)
        it = replacement(
            strategy=strategy, options=replace(self.row.options, **options), deadline=self.now + 100,
            id=before.id + 1 if before else 1,
        )  # fmt: skip
        self.become(replacement=it)
        if strategy is Strategy.BESIDE:
            number = self.row.leader.replica if self.row.leader else 0
            self.insert(COMING, it.options, self.row.generation + 1, number)

    def undeploy(self) -> None:
        self.become(desired=Desired.STOPPED)

    def scale(self, replicas: int) -> None:
        self.become(replicas=replicas)

    # The control loop

    def settle(self, limit: int = 400) -> None:
        """Tick until nothing is left to do.

        Raises:
            AssertionError: it never comes to rest.
        """
        for _ in range(limit):
            before, later = self.row, self._times()
            self.tick()
            if self.row is before and not later:
                return
        raise AssertionError(f"it never comes to rest: {self.row}")

    def tick(self) -> None:
        """Decide once of the deployment, and of each launch; time goes on if nothing was to do."""
        before = self.row
        action = deployment_lifecycle.decide_deployment(
            self.row, self._observed(), self.now, self.policy
        )
        self.log.append((action, len(self.row.ready)))
        self._apply(action)
        self._look(before)
        for one in before.launches:
            # One that has just been changed otherwise is left for the next tick.
            if one in (now := self.row).launches:
                self._apply_to(one, self._decide(one))
                self._look(now)
        if self.row is before:
            self.now = min(self._times(), default=self.now + 1)

    def process(self, one: Launch) -> Process:
        return self.processes[one.launch_id or ""]

    def _decide(self, one: Launch) -> LaunchAction:
        it = self.processes.get(one.launch_id or "", Process())
        if one.is_live and it.fails and it.exit is None and one.state is LaunchState.STARTING:
            it.exit = it.fails
        seen = Observation(
            exit=it.exit,
            health=Health(healthy=it.exit is None),
            traffic=LaunchTraffic(in_flight=it.in_flight, idle=it.idle),
            artifact=Artifact.READY,
            row_independence=RowIndependence.KEPT,
            closing=self.closing,
        )
        return launch_lifecycle.decide_launch(self.row, one, seen, self.now, self.policy)

    def _look(self, before: Deployment) -> None:
        """Check what holds after each transaction."""
        row = self.row
        self.seen.add((before.state, row.state))
        assert deployment_lifecycle.check(before.state, row.state), (before.state, row.state)
        assert (row.rest is None) == bool(row.serving), row
        assert not (row.rest and row.parking), row
        numbers = [one.replica for one in row.serving]
        assert len({*numbers}) == len(numbers), numbers
        for one in row.launches:
            assert (one.launch_id is None) == (one.state is LaunchState.PENDING), one
            assert one.role is not COMING or one.state is not LaunchState.READY, one
            assert one.role is not RETIRING or one.state is LaunchState.STOPPING, one

    def _observed(self) -> DeploymentObservation:
        return DeploymentObservation(
            traffic={
                id: LaunchTraffic(in_flight=it.in_flight, idle=it.idle)
                for id, it in self.processes.items()
            },
            closing=self.closing,
            wake_requested=self.wake_requested,
            park_requested=self.park_requested,
        )

    def _times(self) -> list[float]:
        times = [(one.deadline, one.not_before) for one in self.row.launches]
        return [at for both in times for at in both if at is not None and at > self.now]

    def _apply(self, action: DeploymentAction) -> None:
        match action:
            case Nothing() | RefuseWake():
                pass
            case Settle(state, reason):
                self.become(rest=Rest(state, reason))
            case Wake(reason):
                self.wake_requested = False
                self.become(rest=None, launches=(*self.row.launches, self.new(reason)))
            case Park(reason):
                self.become(parking=reason)
            case AddReplica(reason):
                self.become(launches=(*self.row.launches, self.new(reason)))
            case Retire(one, reason):
                self.retire(one, reason, self.now + self.drain_timeout)
            case HandOver():
                self.hand_over()
            case EndReplacement():
                self.replace(None)
            case FailReplacement(reason):
                if self.row.coming is not None:
                    assert not self.row.coming.is_live
                    self.drop(self.row.coming)
                self.replace(ReplacementState.FAILED, reason=reason)

    def _apply_to(self, one: Launch, action: LaunchAction) -> None:
        match action:
            case Nothing() | Prepare() | CheckBatching():
                pass
            case Start(deadline):
                id = f"{next(self.ids):016x}"
                self.processes[id] = replace(self.next)
                handle = Handle(id, Address("127.0.0.1", 8000))
                self.move(one, LaunchState.STARTING, launch_id=id, handle=handle, deadline=deadline)
            case Promote():
                self.move(one, LaunchState.READY, ready_since=self.now, deadline=None)
                self.become(proven=True)
            case Switch():
                self.switch(one)
            case Stop(reason, step, deadline, tries, kills):
                self.move(
                    one, LaunchState.STOPPING, step=step, reason=reason, deadline=deadline,
                    tries=tries, kills=kills,
                )  # fmt: skip
                if step is Step.KILL or (step is Step.TERMINATE and self.process(one).obeys):
                    self.process(one).exit = ENDED
            case Vacate(State.PENDING):
                self.release(one, action)
            case Vacate(state, reason, tries):
                self.drop(one)
                if not self.row.serving:
                    self.become(rest=Rest(state, reason, tries), parking="")
            case GiveUp(reason):
                self.drop(one)
                self.replace(ReplacementState.FAILED, reason=reason)
            case Forget():
                self.drop(one)
