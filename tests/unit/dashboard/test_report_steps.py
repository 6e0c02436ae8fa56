"""What a report's page offers to do now."""

from datetime import UTC, datetime
from typing import Any

import pytest

from model_deployment.core.domain import State
from model_deployment.core.endpoints import RolloutState
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.report_steps import steps
from tests.support.endpoint_views import endpoint, rollout, view
from tests.support.launched import deployed

KEY, BEFORE = ModelKey("a b", 3), ModelKey("a b", 2)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def labels(verdict: str, **more: Any) -> list[str]:
    made = {"_id": "r1", "verdict": verdict}
    usual: dict[str, Any] = {
        "before": BEFORE, "deployed": {}, "endpoints": [], "operator": True, "drifted": True,
    }  # fmt: skip
    return [one.label for one in steps(KEY, made, **{**usual, **more})]


COMPARE, DEPLOY = "Compare with version 2", "Deploy version 2"
ROWS = "Download the rows that drifted"


@pytest.mark.parametrize(
    ("verdict", "more", "offered"),
    [
        ("degraded", {}, [COMPARE, DEPLOY, ROWS]),
        ("ok", {"drifted": False}, [COMPARE]),
        ("drift", {"operator": False}, [COMPARE]),
        ("drift", {"before": None}, [ROWS]),
        ("error", {"before": None, "drifted": False}, []),
    ],
)
def test_steps_depend_on_verdict_and_role(
    verdict: str, more: dict[str, Any], offered: list[str]
) -> None:
    assert labels(verdict, **more) == offered


def test_a_version_that_is_deployed_is_opened() -> None:
    row = deployed(str(BEFORE), State.PARKED)
    assert labels("degraded", deployed={BEFORE: row}) == [COMPARE, "Open a b-2", ROWS]


def test_names_are_quoted_in_addresses() -> None:
    made = {"_id": "r1", "verdict": "degraded"}
    found = steps(
        KEY, made, before=BEFORE, deployed={}, endpoints=[], operator=True, drifted=True
    )  # fmt: skip
    assert [one.href for one in found] == [
        "/dashboard/compare/a%20b?versions=2,3",
        "/deploy/a%20b/2?wait=0",
        "/model/a%20b-3/drifted_rows?id=r1",
    ]


def test_an_endpoint_that_can_go_back_is_rolled_back() -> None:
    key = ModelKey("diabetes", 2)
    promoted = view(
        endpoint=endpoint(champion=2, previous=1),
        rollout=rollout(state=RolloutState.PROMOTED),
        judgement=None,
    )
    found = steps(
        key,
        {"_id": "r1", "verdict": "degraded"},
        before=ModelKey("diabetes", 1),
        deployed={},
        endpoints=[promoted],
        operator=True,
        drifted=False,
    )
    assert [one.label for one in found] == ["Roll diabetes@champion back", "Compare with version 1"]
    assert (found[0].method, found[0].href) == ("POST", "/endpoints/diabetes@champion/rollback")
    assert found[0].then == "/dashboard/endpoints/diabetes@champion"
