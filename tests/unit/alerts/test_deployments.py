"""Failures and recoveries of deployments are told, each once."""

import asyncio

import pytest

from model_deployment.alerts.alert import Alert
from model_deployment.alerts.deployments import DeploymentAlerts
from model_deployment.core.domain import State
from tests.support.launched import deployed


async def told(states: list[State], *, before: State | None = None) -> list[str]:
    """The alerts while a deployment goes through states; ``before`` is its state at the start."""
    found: list[str] = []

    async def call(alert: Alert) -> None:
        found.append(str(alert.kind))

    alerts = DeploymentAlerts(call)
    if before is not None:
        alerts.remember([deployed("iris-1", before)])
    row = deployed("iris-1", State.STARTING)
    for state in states:
        after = deployed("iris-1", state, reason="KeyError: 'age'")
        alerts.changed(row, after)
        row = after
        await asyncio.sleep(0)
    await alerts.close()
    return found


@pytest.mark.parametrize(
    ("before", "states", "expected"),
    [
        (None, [State.READY, State.STOPPING, State.STOPPED], []),
        (None, [State.READY, State.PENDING, State.STARTING, State.READY], []),
        (None, [State.FAILED], ["deployment_failed"]),
        (None, [State.FAILED, State.PENDING, State.STARTING, State.READY, State.PARKED, State.READY],
         ["deployment_failed", "deployment_recovered"]),
        (None, [State.FAILED, State.STOPPED, State.PENDING, State.READY], ["deployment_failed"]),
        (State.FAILED, [State.STARTING, State.READY], ["deployment_recovered"]),
        (State.READY, [State.STARTING, State.READY], []),
    ],
)  # fmt: skip
async def test_what_is_told(before: State | None, states: list[State], expected: list[str]) -> None:
    assert await told(states, before=before) == expected
