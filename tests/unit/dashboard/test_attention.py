"""What needs attention, and why: failures, errors of models but not of callers, verdicts, rollouts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from model_deployment.core.domain import LaunchState, State
from model_deployment.core.endpoints import Order, RolloutState
from model_deployment.core.events import Event
from model_deployment.dashboard.activity import Figures
from model_deployment.dashboard.attention import (
    LastError,
    Need,
    Problem,
    deployment_problems,
    endpoint_problems,
    failed_since,
    not_ready_since,
)
from model_deployment.reports.last_reports import LastReport
from tests.support.endpoint_views import endpoint, rollout, steady, view
from tests.support.launched import deployed, launch

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def problems(
    state: State = State.READY,
    figures: Figures | None = None,
    verdict: str = "",
    missing: str = "",
    error: LastError | None = None,
    **row: Any,
) -> tuple[Problem, ...]:
    last = LastReport("r1", verdict, f"it is {verdict}", NOW, NOW) if verdict else None
    given = {"ready_at": ago(600)} if state is State.READY else {}
    made = deployed("a-1", state, **{**given, **row})
    return deployment_problems(made, figures or Figures(), last, error, missing, ago(60), NOW)


def needs(*args: Any, **more: Any) -> list[Need]:
    return [one.need for one in problems(*args, **more)]


def test_states() -> None:
    assert needs() == []
    assert needs(State.PARKED) == []
    assert needs(State.STARTING) == []
    (failed,) = problems(State.FAILED, reason="KeyError: 'x' (gave up after 3 tries)", tries=3)
    assert (failed.need, failed.since) == (Need.FAILED, ago(60))
    assert failed.text.startswith("KeyError: 'x'")
    (restarting,) = problems(State.PENDING, reason="KeyError: 'x'", tries=2)
    assert restarting.text == "KeyError: 'x' (2 failures in a row)"
    assert needs(State.READY, kills=1, ready_at=ago(10)) == [Need.RESTARTING]
    assert needs(State.READY, kills=1, ready_at=ago(600)) == []
    assert needs(missing="1 of 2 workers serve") == [Need.RESTARTING]


def test_replicas_that_are_missing_need_attention_only_if_one_of_them_fails() -> None:
    text = "1 of 2 replicas serve"
    coming = [launch(), launch(LaunchState.STARTING, 1)]
    assert problems(missing=text, launches=coming) == ()
    failing = launch(LaunchState.PENDING, 1, tries=2, since=ago(30))
    (problem,) = problems(missing=text, launches=[launch(), failing])
    assert (problem.need, problem.name, problem.text) == (Need.RESTARTING, "Replicas missing", text)
    assert (problem.tone, problem.since) == ("warn", ago(30))


def test_only_errors_of_the_model_need_attention() -> None:
    assert needs(figures=Figures(requests=100, caller_errors=90)) == []
    assert needs(figures=Figures(requests=1000, model_errors=9)) == []
    (errors,) = problems(figures=Figures(requests=560, model_errors=39, caller_errors=200))
    count = "39 of 560 requests in the last five minutes failed (7.0 %)"
    assert (errors.text, errors.public) == (count, None)
    error = LastError("ValueError: no age 'Ada'", ago(90), "ValueError")
    (known,) = problems(figures=Figures(requests=560, model_errors=39), error=error)
    assert (known.text, known.since) == (f"ValueError: no age 'Ada'; {count}", ago(90))
    assert known.public == f"ValueError; {count}"


def test_most_urgent_problem_is_first() -> None:
    figures = Figures(requests=10, model_errors=5)
    assert needs(figures=figures, verdict="drift") == [Need.MODEL_ERRORS, Need.DRIFT]
    assert needs(verdict="degraded") == [Need.DEGRADED]
    for verdict in ("ok", "insufficient_data", "no_reference", "something new"):
        assert needs(verdict=verdict) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"order": Order.PAUSE}, [Need.ROLLOUT]),
        ({"reason": "inconclusive: 3 of 100 requests"}, [Need.ROLLOUT]),
        ({"state": RolloutState.ROLLED_BACK, "ended_at": NOW}, [Need.ROLLOUT]),
        ({"state": RolloutState.PROMOTED, "ended_at": NOW}, []),
    ],
)
def test_rollouts(changes: Any, found: list[Need]) -> None:
    seen = view(rollout=rollout(**changes))
    assert [one.need for one in endpoint_problems(seen)] == found


def test_rollback_is_over_once_the_alias_names_another_version() -> None:
    back = rollout(state=RolloutState.ROLLED_BACK, ended_at=NOW, reason="it fails")
    (problem,) = endpoint_problems(view(rollout=back))
    assert problem.text == "version 2 was rolled back: it fails"
    assert problem.since == NOW
    assert endpoint_problems(view(rollout=back, endpoint=endpoint(alias_version=1))) == ()


def test_notice_of_an_endpoint() -> None:
    (problem,) = endpoint_problems(steady(endpoint=endpoint(notice="the alias was deleted")))
    assert problem.text == "the alias was deleted"


def test_since_is_when_the_deployment_ceased_to_be_ready() -> None:
    events = [
        Event(ago(1), State.READY, ""),
        Event(ago(2), State.STARTING, ""),
        Event(ago(30), State.PENDING, "KeyError"),
        Event(ago(90), State.READY, ""),
        Event(ago(99), State.FAILED, "before"),
    ]
    assert not_ready_since(events) == ago(30)
    assert not_ready_since(events[1:]) == ago(30)
    assert failed_since(events) == ago(99)
    assert not_ready_since([]) is None
