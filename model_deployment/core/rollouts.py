"""The steps of a rollout, pure: the legal transitions, and which step follows which."""

from model_deployment.core.endpoints import ACTIVE, Rollout, RolloutKind, RolloutState
from model_deployment.core.rollout_policy import RolloutPolicy

#: What comes after what; each step may be left out.
_FORWARD = (
    RolloutState.DEPLOYING,
    RolloutState.CHECKING,
    RolloutState.REPLAYING,
    RolloutState.SHADOWING,
    RolloutState.CANARY,
    RolloutState.PROMOTED,
)

#: Every legal transition, with its cause. ``docs/design.md`` draws its diagram from this.
TRANSITIONS: dict[tuple[RolloutState | None, RolloutState], str] = {
    (None, RolloutState.DEPLOYING): "the alias moved",
    (RolloutState.DEPLOYING, RolloutState.CHECKING): "ready",
    (RolloutState.DEPLOYING, RolloutState.REPLAYING): "ready, no checks",
    (RolloutState.DEPLOYING, RolloutState.SHADOWING): "ready, no checks and no replay",
    (RolloutState.DEPLOYING, RolloutState.CANARY): "ready, straight to the canary",
    (RolloutState.CHECKING, RolloutState.REPLAYING): "passed",
    (RolloutState.CHECKING, RolloutState.SHADOWING): "passed, no replay",
    (RolloutState.CHECKING, RolloutState.CANARY): "passed, neither replay nor shadow",
    (RolloutState.REPLAYING, RolloutState.SHADOWING): "passed",
    (RolloutState.REPLAYING, RolloutState.CANARY): "passed, no shadow",
    (RolloutState.SHADOWING, RolloutState.CANARY): "passed",
    (RolloutState.CANARY, RolloutState.CANARY): "the next share",
    **{(state, RolloutState.PROMOTED): "passed / by hand" for state in _FORWARD[:-1]},
    **{(state, RolloutState.ROLLED_BACK): "stopped / by hand" for state in _FORWARD[:-1]},
    **{(state, RolloutState.SUPERSEDED): "the alias moved on" for state in _FORWARD[:-1]},
    (RolloutState.PROMOTED, RolloutState.ROLLED_BACK): "by hand",
}


def check(source: RolloutState | None, target: RolloutState) -> bool:
    """Whether a transition is legal."""
    return (source, target) in TRANSITIONS


def plan(policy: RolloutPolicy, rollout: Rollout) -> tuple[RolloutState, ...]:
    """The steps of a rollout, in order.

    The first version has nothing to be compared with, and a version that served before has proved itself.
    """
    alone = rollout.champion is None or recreates(rollout)
    left_out = set()
    if rollout.kind is RolloutKind.BACK:
        left_out = {*ACTIVE} - {RolloutState.DEPLOYING}
    checks = policy.checks
    if not (checks.example or (checks.signature and not alone)):
        left_out.add(RolloutState.CHECKING)
    if alone or not checks.replay:
        left_out.add(RolloutState.REPLAYING)
    if alone or checks.shadow is None:
        left_out.add(RolloutState.SHADOWING)
    if alone or not policy.canary.steps:
        left_out.add(RolloutState.CANARY)
    return tuple(state for state in _FORWARD if state not in left_out)


def following(policy: RolloutPolicy, rollout: Rollout) -> tuple[RolloutState, int]:
    """The state and canary step that follow the ones of a rollout that is under way."""
    if rollout.state is RolloutState.CANARY and rollout.step + 1 < len(policy.canary.steps):
        return RolloutState.CANARY, rollout.step + 1
    place = _FORWARD.index(rollout.state)
    later = [state for state in plan(policy, rollout) if _FORWARD.index(state) > place]
    return later[0], 0


def canary_share(policy: RolloutPolicy, rollout: Rollout) -> float:
    """Share of the requests that the candidate answers as a canary, 0 to 1; 0 in any other state.

    Where the policy has fewer steps than it had, the last one counts.
    """
    steps = policy.canary.steps
    if rollout.state is not RolloutState.CANARY or not steps:
        return 0.0
    return steps[min(rollout.step, len(steps) - 1)] / 100


def recreates(rollout: Rollout) -> bool:
    """Whether the candidate, which is deployed, takes the place of the champion, which is stopped."""
    return bool(rollout.evidence.get("recreate") and rollout.evidence.get("deployed"))


def diagram() -> str:
    """The state machine in Mermaid's notation."""
    lines = ["stateDiagram-v2"]
    for (source, target), cause in TRANSITIONS.items():
        lines.append(f"  {source or '[*]'} --> {target}: {cause}")
    return "\n".join(lines)
