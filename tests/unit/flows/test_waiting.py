"""What a run waits for is what is the case now."""

from dataclasses import replace
from datetime import timedelta

from model_deployment.flows.base import FlowState
from model_deployment.flows.service_file import ServiceState
from model_deployment.flows.waiting import message
from tests.support.flow_runs import NOW, record


def test_a_request_says_what_it_waits_for() -> None:
    first = record("a", FlowState.RUNNING)
    asked = replace(record("b", at=NOW + timedelta(seconds=5)), run=None)
    alone = message(asked, [asked], ServiceState.STARTING, "")
    assert "is starting" in alone
    why = "cannot start the service of flows: no Python"
    assert message(asked, [asked], ServiceState.AWAY, why) == why
    assert "about to start" in message(asked, [asked], ServiceState.AWAY, "")
    assert "run a)" in message(asked, [first, asked], ServiceState.READY, "")
    assert "gets it now" in message(asked, [asked], ServiceState.READY, "")
    scheduled = record("c", FlowState.SCHEDULED, at=NOW + timedelta(seconds=9))
    assert "run a)" in message(scheduled, [first, asked, scheduled], ServiceState.READY, "")
    assert "is starting" in message(scheduled, [scheduled], ServiceState.STARTING, "")
    assert message(first, [first, asked], ServiceState.READY, why) == ""
