"""A change of options or a restart: new launches take the places of those that serve, without a gap.

One new launch comes first, beside those that serve. Once it is healthy, the deployment takes its options
over, and the replicas before are replaced one after another. If it fails, the ones before go on. Pure.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from model_deployment.core.options import Options


class ReplacementState(StrEnum):
    """The state of a replacement."""

    COMING = "coming"  # asked for; its first launch does not serve yet
    ROLLING = (
        "rolling"  # its options are the deployment's; the launches before are replaced and retire
    )
    FAILED = "failed"  # its first launch did not become ready; the ones before go on


class Strategy(StrEnum):
    """How the launches that serve are replaced."""

    BESIDE = "beside"  # start a new launch beside them, then switch; one after another
    RECREATE = (
        "recreate"  # stop them first: requests wait a while, and no memory is needed for one more
    )


#: Every legal transition, with its cause. ``docs/design.md`` draws its diagram from this. None: there is no
#: replacement.
TRANSITIONS: dict[tuple[ReplacementState | None, ReplacementState | None], str] = {
    (None, ReplacementState.COMING): "change / restart",
    (ReplacementState.FAILED, ReplacementState.COMING): "change / restart",
    (ReplacementState.ROLLING, ReplacementState.COMING): "another change / restart",
    (ReplacementState.COMING, ReplacementState.ROLLING): "healthy: switch / recreate: stopped",
    (ReplacementState.COMING, ReplacementState.FAILED): "gone / no artifacts / deadline / shutdown",
    (ReplacementState.COMING, None): "undeploy",
    (ReplacementState.ROLLING, None): "all launches before it have ended / undeploy",
    (ReplacementState.FAILED, None): "undeploy / deploy / park / wake-up",
}


@dataclass(frozen=True, slots=True)
class Replacement:
    """A change of options, or a restart."""

    id: int
    state: ReplacementState
    strategy: Strategy
    #: Those of the new launches.
    options: Options
    #: Why it is in its state.
    reason: str
    #: What was asked for, and by whom, for the events.
    purpose: str
    #: When it entered its state, wall clock.
    since: datetime
    #: When it is given up unless its first launch was started; monotonic clock, in seconds.
    deadline: float | None = None

    @property
    def waits_for_stop(self) -> bool:
        """Whether the launches that serve have to end first."""
        return self.state is ReplacementState.COMING and self.strategy is Strategy.RECREATE

    @property
    def under_way(self) -> bool:
        """Whether it is not decided yet which launches go on."""
        return self.state is ReplacementState.COMING

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left but why it failed."""
        return self.state is ReplacementState.FAILED


def check(source: ReplacementState | None, target: ReplacementState | None) -> bool:
    """Whether a transition is legal."""
    return (source, target) in TRANSITIONS


def diagram() -> str:
    """The state machine in Mermaid's notation."""
    lines = ["stateDiagram-v2"]
    for (source, target), cause in TRANSITIONS.items():
        lines.append(f"  {source or '[*]'} --> {target or '[*]'}: {cause}")
    return "\n".join(lines)
