"""Deployments of a state database that go on, as a control loop would bring them to their next states."""

from collections.abc import Collection

from model_deployment.core.domain import Desired, State
from model_deployment.core.merging import Merging
from tests.support.stored import NOW, Store, leader


async def go_on(store: Store, broken: Collection[int]) -> None:
    """Each deployment comes to its next state; ``broken`` versions end when they start."""
    for row in await store.deployments.all():
        wanted, fails = row.desired is Desired.RUNNING, row.key.version in broken
        match row.state:
            case State.PENDING if wanted:
                await store.launch(row)
            case State.STARTING if wanted and fails:
                await store.end(row, State.FAILED, tries=5)
            case State.STARTING if wanted:
                await store.launches.promote(row, leader(row), Merging(), NOW)
            case State.READY if wanted and fails:
                await store.end(row, State.PENDING)
            case State.READY if wanted:
                pass
            case State.STOPPED:
                pass
            case State.FAILED | State.PARKED if not wanted:
                await store.deployments.settle(row, State.STOPPED, "undeployed")
            case _ if not wanted:
                await store.end(row, State.STOPPED)
