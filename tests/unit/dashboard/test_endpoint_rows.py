"""Small pure parts of the pages of endpoints: rows, actions, guards."""

from dataclasses import replace
from typing import Any

import pytest

from model_deployment.core.domain import State
from model_deployment.core.endpoints import Order, RolloutState
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.endpoint_actions import Actions
from model_deployment.dashboard.endpoint_lines import guard_line
from model_deployment.dashboard.endpoint_rows import endpoint_row, endpoint_rows, uses
from model_deployment.endpoints.findings import GuardReading, Outcome
from model_deployment.endpoints.views import ServedVersion, VersionRole
from tests.support.endpoint_views import JUDGEMENT, endpoint, rollout, steady, view

STARTING = (ServedVersion(2, VersionRole.CANDIDATE, 0.0, State.STARTING),)


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, ["promote", "pause", "rollback"]),
        ({"rollout": rollout(order=Order.PAUSE)}, ["promote", "resume", "rollback"]),
        ({"rollout": rollout(order=Order.PROMOTE)}, []),
        ({"versions": STARTING}, ["pause", "rollback"]),
        ({"rollout": rollout(state=RolloutState.ROLLED_BACK)}, ["promote", "resume"]),
        (
            {
                "rollout": rollout(state=RolloutState.PROMOTED),
                "endpoint": endpoint(champion=2, previous=1),
            },
            ["rollback"],
        ),
        ({"rollout": None, "endpoint": endpoint(alias_version=1)}, []),
    ],
)
def test_actions_are_the_ones_that_the_service_accepts(changes: Any, allowed: list[str]) -> None:
    actions = Actions(view(**changes))
    assert actions.allowed == allowed
    # Each that is confirmed says what it does.
    said = {"promote": actions.promote, "rollback": actions.rollback}
    assert {name for name, text in said.items() if text} == {*allowed} & {*said}


def test_confirmations_name_both_versions() -> None:
    actions = Actions(view())
    assert "Version 2 answers all requests" in actions.promote
    assert "Version 1 is kept ready for 1 h" in actions.promote
    assert "Version 2 gets no more requests. Version 1 answers all of them." in actions.rollback
    first = Actions(view(endpoint=endpoint(champion=None), rollout=rollout(champion=None)))
    assert "Version 1" not in first.promote + first.rollback


def test_evidence_is_on_a_logarithmic_way_to_its_limit() -> None:
    def way(evidence: float, limit: float) -> float:
        return guard_line(
            GuardReading("errors", Outcome.PASSED, "", None, 0.01, evidence, limit)
        ).way

    assert [way(e, 100.0) for e in (0.0, 1e-9, 1.0, 10.0, 100.0, 1e9)] == [0, 0, 0, 50, 100, 100]
    assert way(0.0, 0.0) == 0
    line = guard_line(GuardReading("errors", Outcome.PASSED, "", None, 0.01, 0.4, 200.0))
    assert (line.champion, line.candidate, line.evidence) == ("\u2013", "1.0 %", "0.4 of 200")


def test_row_changes_with_all_that_the_page_shows() -> None:
    before = endpoint_row(view())
    assert before == endpoint_row(view())
    reading = replace(JUDGEMENT.readings[0], evidence=0.5)
    judged = replace(JUDGEMENT, readings=(reading, *JUDGEMENT.readings[1:]))
    assert endpoint_row(view(judgement=judged)).mark != before.mark


def test_deployments_know_which_endpoints_use_them() -> None:
    rows = endpoint_rows([view(), steady(endpoint=endpoint(champion=2))])
    assert len(rows) == 1  # of one name
    [use] = uses(endpoint_rows([view()]).values(), ModelKey("diabetes", 2))
    assert (use.name, use.role, use.share) == ("diabetes@champion", VersionRole.CANDIDATE, 0.25)
    assert uses(rows.values(), ModelKey("wine", 1)) == []
