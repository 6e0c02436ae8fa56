"""The pure rules of runs: parameters, the chart, what is told, and when a verdict starts a run."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from model_deployment.alerts.alert import AlertKind
from model_deployment.alerts.formats import WebhookFormat, body
from model_deployment.core.errors import InvalidRequest
from model_deployment.flow_project import ExperimentSettings
from model_deployment.flows.base import Artifact, FlowState, FlowType, TaskRun
from model_deployment.flows.figures import EndCounts
from model_deployment.flows.mirror import result
from model_deployment.flows.monitoring_data import chart
from model_deployment.flows.news import alert_of
from model_deployment.flows.parameters import allowed, checked, flow_type
from model_deployment.flows.retraining import Situation, reason_against
from model_deployment.flows.service_file import ServiceState
from tests.support.flow_runs import NOW, SHA, project, record


@pytest.fixture
def experiments(tmp_path: Path) -> dict[str, ExperimentSettings]:
    return project(tmp_path / "project").settings().experiments


def test_what_was_given_is_handed_on_and_the_rest_left_to_the_settings(
    experiments: dict[str, ExperimentSettings],
) -> None:
    given = {"model_type": "forest", "trials": 3, "timeout": 60, "version": None}
    found = checked(FlowType.FULL, experiments["income"], given)
    assert found == {"experiment": "income", "model_type": "forest", "trials": 3, "timeout": 60}


@pytest.mark.parametrize(
    ("flow", "experiment", "given", "message"),
    [
        ("data_flow", "income", {"trials": 3}, "it takes data, force"),
        ("train_flow", "income", {"epochs": 3}, "only time series take epochs"),
        ("train_flow", "income", {"model_type": "lstm"}, "one of auto, forest, boosting"),
        ("train_flow", "income", {"trials": 0}, "a whole number from 1 to 10000"),
        ("train_flow", "income", {"trials": True}, "a whole number from 1 to 10000"),
        ("train_flow", "income", {"timeout": 1e9}, "a number from 1 to 604800 s"),
        ("train_flow", "sales", {"epochs": 1.5}, "a whole number from 1"),
        ("eval_flow", "income", {"version": -1}, "a whole number from 1"),
        ("full_flow", "income", {"wait": float("nan")}, "a number from 0 to 86400 s"),
        ("deploy_flow", "income", {}, "no endpoint; add `endpoint: income@champion`"),
        ("data_flow", "income", {"data": "../etc"}, "SHA-256 of a version"),
        ("data_flow", "income", {"force": 1}, "true or false"),
    ],
)
def test_a_refusal_says_what_is_allowed(
    experiments: dict[str, ExperimentSettings], flow: str, experiment: str, given: Any, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        checked(FlowType(flow), experiments[experiment], given)


def test_an_unknown_flow_is_told_the_flows() -> None:
    with pytest.raises(InvalidRequest, match="data_flow, train_flow"):
        flow_type("x\n")


def test_each_limit_is_described(tmp_path: Path) -> None:
    found = allowed(project(tmp_path / "project").settings())
    assert found["income"]["train_flow"]["trials"] == {
        "type": "integer", "minimum": 1, "maximum": 10_000, "default": 12,
    }  # fmt: skip
    assert found["income"]["train_flow"]["model_type"]["enum"] == ["auto", "forest", "boosting"]
    assert "epochs" in found["sales"]["full_flow"]
    assert "epochs" not in found["income"]["full_flow"]


def test_the_chart_has_a_line_for_each_run_and_bars_in_utc() -> None:
    task = TaskRun(
        id="t", run="prefect-b", name="fit", state=FlowState.RUNNING, state_name="Running",
        started=NOW + timedelta(seconds=20),
    )  # fmt: skip
    running = record("b", FlowState.RUNNING, tasks=[task])
    found = chart([running, record("a")], NOW + timedelta(seconds=50))
    assert [one["id"] for one in found["flow_info"]] == ["b", "a"]
    assert found["flow_info"][0]["start_time"] == "2026-01-31T12:00:10.000Z"
    assert found["flow_info"][0]["duration"] == 40
    assert found["flow_info"][1]["duration"] == 60
    by_name = {trace["name"]: trace for trace in found["graph"]}
    assert by_name["tasks: running"]["base"] == ["2026-01-31 12:00:20.000"]
    assert by_name["tasks: running"]["x"] == [30_000]
    assert by_name["runs: completed"]["x"] == [60_000]
    lines = found["layout"]["yaxis"]["categoryarray"]
    assert by_name["runs: running"]["y"] == lines[:1]
    assert found["layout"]["shapes"][0]["x0"] == "2026-01-31 12:00:50.000"


def test_a_failed_run_is_told_and_the_first_that_completes_afterwards() -> None:
    failed, fine = record("a", FlowState.FAILED), record("b")
    bad, good = alert_of(failed, fine), alert_of(fine, failed)
    assert bad
    assert good
    assert (bad.kind, good.kind) == (AlertKind.FLOW_RUN_FAILED, AlertKind.FLOW_RUN_COMPLETED)
    assert alert_of(fine, fine) is None
    assert alert_of(record("c", FlowState.CANCELLED), failed) is None
    assert body(bad, WebhookFormat.JSON)["run"] == "a"
    [ours], [theirs] = (body(one, WebhookFormat.ALERTMANAGER) for one in (bad, good))
    assert ours["labels"] == theirs["labels"]
    assert ours["labels"]["experiment"] == "income"


def test_a_result_is_that_of_the_run_else_of_the_last_flow_within_it() -> None:
    def left(run: str, data: Any, key: str = "result") -> Artifact:
        return Artifact(run, key, "markdown", "", data)

    found = [left("child", '{"a": 1}'), left("child", '{"a": 2}'), left("run", "{}", "other")]
    assert result(found, "run") == {"a": 2}
    assert result([left("run", '{"a": 3}'), *found], "run") == {"a": 3}
    for odd in ("{", "[1]", None, "x" * 200_000):
        assert result([left("run", odd)], "run") is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, ""),
        ({"serves": False}, "serves another version"),
        ({"busy": "r1"}, "run r1 of the experiment income has not ended"),
        ({"newest": None}, "nothing was uploaded"),
        ({"trained_on": SHA}, "was trained on the newest version"),
        ({"tried": "r1"}, "run r1 has tried the newest version"),
        ({"last": NOW - timedelta(hours=23)}, "the next may start at 2026-01-31 13:00 UTC"),
        ({"last": NOW - timedelta(hours=24)}, ""),
    ],
)
def test_a_verdict_starts_a_run_with_new_data_once_a_day(
    experiments: dict[str, ExperimentSettings], changed: dict[str, Any], reason: str
) -> None:
    settings = experiments["income"].model_copy(update={"retrain_when_degraded": True})
    facts = {"serves": True, "last": None, "busy": None, "newest": SHA, "trained_on": "other"}
    found = reason_against(settings, NOW, Situation(**{**facts, **changed}))
    assert reason in found
    assert bool(found) == bool(reason)
    assert "is false" in reason_against(experiments["income"], NOW, Situation(**facts))  # type: ignore[arg-type]


def test_figures_count_runs_by_flow_and_state() -> None:
    counts = EndCounts()
    ended, strange = record("a", FlowState.FAILED), record("s", flow="strange")
    for one in (ended, strange):
        counts.count(one)
    found = counts.figures(
        [record("b", FlowState.RUNNING), record("c"), ended, strange], ServiceState.READY
    )
    assert found.active["train_flow", "running"] == 1
    assert found.ended["train_flow", "failed"] == 1
    assert found.last == {"train_flow": (60, NOW + timedelta(seconds=70))}
    assert {flow for flow, _ in found.ended} == {*FlowType}
