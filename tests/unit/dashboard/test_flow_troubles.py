"""A failed run needs attention until a later one of its experiment has completed."""

from dataclasses import replace
from datetime import timedelta

from model_deployment.dashboard.flow_troubles import flow_troubles
from model_deployment.flows.base import FlowState
from tests.support.flow_runs import NOW, record


def test_the_newest_end_of_each_experiment_counts() -> None:
    failed = replace(record("a", FlowState.FAILED), reason="no data\nand more")
    later = NOW + timedelta(hours=1)
    going = record("b", FlowState.RUNNING, at=later)
    cancelled = record("c", FlowState.CANCELLED, at=later)
    crashed = replace(record("d", FlowState.CRASHED), experiment="sales")
    found = flow_troubles([going, cancelled, failed, crashed])
    assert [one.run for one in found.values()] == ["a", "d"]
    [problem] = found["flow of income"].problems
    assert (problem.name, problem.text) == ("Run failed", "no data")
    assert problem.since == NOW + timedelta(seconds=70)
    assert problem.public == ""
    done = record("e", at=later)
    assert [*flow_troubles([done, failed, crashed])] == ["flow of sales"]
    assert [one.run for one in flow_troubles([failed, done]).values()] == ["a"]
