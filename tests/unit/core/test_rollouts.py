"""The steps of a rollout: legal transitions, and the plan that a policy makes."""

from dataclasses import replace

from hypothesis import given

from model_deployment.core.endpoints import ACTIVE, Rollout, RolloutKind
from model_deployment.core.endpoints import RolloutState as S
from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.core.rollouts import TRANSITIONS, check, following, plan
from tests.support.rollout_rows import policies, rollouts


@given(policies, rollouts)
def test_every_way_through_the_steps_takes_those_of_the_plan_in_order(
    policy: RolloutPolicy, row: Rollout
) -> None:
    row = replace(row, state=S.DEPLOYING, step=0)
    planned = plan(policy, row)
    assert (planned[0], planned[-1]) == (S.DEPLOYING, S.PROMOTED)
    taken, shares = [row.state], 0
    while row.active:
        state, step = following(policy, row)
        assert check(row.state, state)
        shares += state is S.CANARY
        if state is not row.state:
            taken.append(state)
        row = replace(row, state=state, step=step)
    assert tuple(taken) == planned
    assert shares == (len(policy.canary.steps) if S.CANARY in planned else 0)
    if row.kind is RolloutKind.BACK:
        assert len(planned) == 2


def test_only_states_under_way_have_a_way_on() -> None:
    ended = [move for move in TRANSITIONS if move[0] is not None and move[0] not in ACTIVE]
    assert ended == [(S.PROMOTED, S.ROLLED_BACK)]
