"""The lifecycle of a release, pure: the legal transitions with their causes. What comes next is decided in
``devices/decide.py``."""

from model_deployment.core.releases import UNDECIDED, ReleaseState

#: Every legal transition, with its cause. ``docs/design.md`` draws its diagram from this.
TRANSITIONS: dict[tuple[ReleaseState | None, ReleaseState], str] = {
    (None, ReleaseState.PREPARING): "setModel / the endpoint's champion changed / takes one back",
    (ReleaseState.PREPARING, ReleaseState.PREPARING): "held up: the registry, the disk",
    (ReleaseState.PREPARING, ReleaseState.ROLLING): "signed, the first stage is open",
    (ReleaseState.PREPARING, ReleaseState.FAILED): "cannot be prepared",
    (ReleaseState.PREPARING, ReleaseState.STOPPED): "by hand",
    (ReleaseState.ROLLING, ReleaseState.ROLLING): "enough devices run it, the next stage is open",
    (ReleaseState.ROLLING, ReleaseState.COMPLETE): "all stages are open, and enough devices run it",
    (ReleaseState.ROLLING, ReleaseState.PAUSED): "by hand",
    (ReleaseState.PAUSED, ReleaseState.ROLLING): "by hand",
    (ReleaseState.ROLLING, ReleaseState.STOPPED): "too many devices failed / by hand",
    (ReleaseState.PAUSED, ReleaseState.STOPPED): "too many devices failed / by hand",
    (ReleaseState.COMPLETE, ReleaseState.STOPPED): "by hand",
    **{
        (state, ReleaseState.SUPERSEDED): "a newer release begins"
        for state in ReleaseState
        if state in UNDECIDED
    },
}


def check(source: ReleaseState | None, target: ReleaseState) -> bool:
    """Whether a transition is legal."""
    return (source, target) in TRANSITIONS


def diagram() -> str:
    """The state machine in Mermaid's notation."""
    lines = ["stateDiagram-v2"]
    for (source, target), cause in TRANSITIONS.items():
        lines.append(f"  {source or '[*]'} --> {target}: {cause}")
    return "\n".join(lines)
