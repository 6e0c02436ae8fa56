"""A deployment with one launch in memory, whose process does what it is told, or does not."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from model_deployment.core.actions import (
    Artifact,
    CheckBatching,
    LaunchAction,
    Nothing,
    Observation,
    Policy,
    Prepare,
    Promote,
    RowIndependence,
    Start,
    Stop,
    Vacate,
)
from model_deployment.core.domain import Deployment, Exit, LaunchState, Rest, State, Step
from model_deployment.core.launch_lifecycle import check, decide_launch
from model_deployment.core.measures import Health, LaunchTraffic
from tests.support.rows import HANDLE, LAUNCH, LIVE, PORT, only


@dataclass
class LaunchWorld:
    """What becomes of the row when time goes on."""

    row: Deployment
    now: float
    #: Ends when asked to; else it takes a SIGKILL.
    obeys: bool = True
    #: Its requests end once it drains; else they never do.
    drains: bool = True
    alive: bool = True
    #: How it ends on its own.
    code: int = -15
    #: What the comparison of predictions has found.
    compared: RowIndependence = RowIndependence.UNTRIED

    def run(self, policy: Policy, limit: int) -> Iterator[State]:
        """The states it comes through."""
        for _ in range(limit):
            yield self.row.state
            self.step(self.decide(policy))

    def decide(self, policy: Policy, **seen: object) -> LaunchAction:
        """What is decided of its launch, if it has one."""
        if self.row.rest is not None:
            return Nothing()
        observed = replace(self.observe(), **seen)  # type: ignore[arg-type]
        return decide_launch(self.row, only(self.row), observed, self.now, policy)

    def observe(self) -> Observation:
        busy = not self.drains and self.row.state in LIVE
        return Observation(
            exit=None if self.alive else Exit("the process is over", self.code),
            health=Health(healthy=self.alive),
            traffic=LaunchTraffic(in_flight=int(busy)),
            artifact=Artifact.READY,
            row_independence=self.compared,
        )

    def step(self, action: LaunchAction) -> None:
        match action:
            case Nothing() | Prepare():
                self.now = self._next()
            case Start(deadline):
                self.alive = True
                self._become(
                    LaunchState.STARTING,
                    launch_id=LAUNCH,
                    handle=HANDLE,
                    port=PORT,
                    deadline=deadline,
                )
            case CheckBatching():
                self.compared = RowIndependence.KEPT
            case Promote():
                self._become(LaunchState.READY, ready_since=self.now, deadline=None)
                self.row = replace(self.row, proven=True)
            case Stop(reason, step, deadline, tries, kills):
                self._become(
                    LaunchState.STOPPING, step=step, deadline=deadline, reason=reason,
                    tries=tries, kills=kills,
                )  # fmt: skip
                if step is Step.KILL or (step is Step.TERMINATE and self.obeys):
                    self.alive = False
            case Vacate(State.PENDING, reason, tries, not_before, _, kills):
                self._become(
                    LaunchState.PENDING, reason=reason, tries=tries, kills=kills,
                    not_before=not_before, launch_id=None, handle=None, port=None, step=None,
                )  # fmt: skip
            case Vacate(state, reason, tries):
                assert check(only(self.row).state, None)
                self.row = replace(
                    self.row, launches=(), rest=Rest(state, reason, tries), parking=""
                )
            case _:
                raise AssertionError(action)

    def _become(self, state: LaunchState, **changes: object) -> None:
        launch = only(self.row)
        assert check(launch.state, state)
        changed = replace(launch, state=state, **changes)  # type: ignore[arg-type]
        self.row = replace(self.row, launches=(changed,))

    def _next(self) -> float:
        times = [(one.deadline, one.not_before) for one in self.row.launches]
        ahead = [at for both in times for at in both if at is not None and at > self.now]
        return min(ahead, default=self.now + 1)
