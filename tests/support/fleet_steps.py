"""Steps that tests of fleets have in common, and what they look at afterwards."""

import re

import pytest

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.releases import ReleasePolicy
from tests.support.fleet import MODEL, PROJECT, Fleet

LIVE = EndpointName(MODEL, "live")
#: Seconds.
DAY = 86400.0
DEFAULT = ReleasePolicy()
ALL_AT_ONCE = ReleasePolicy(groups=(), percent=())


async def released(it: Fleet, version: int, policy: ReleasePolicy = DEFAULT) -> int:
    """Begin a release, and wait until it has ended; its number."""
    begun = await it.service.set_version(PROJECT, MODEL, version, policy, "op")
    await it.quiet(seconds=5.0)
    return begun.release.number


def run_versions(it: Fleet) -> list[int | None]:
    """What each device runs."""
    return [one.version for one in it.agents.values()]


def refused(kind: type[ModelDeploymentError], why: str) -> pytest.RaisesExc[ModelDeploymentError]:
    """Expects an error whose text has these words."""
    return pytest.raises(kind, match=re.escape(why))


async def reasons(it: Fleet) -> list[str]:
    """Of the events, oldest first, with the device."""
    found = reversed(await it.service.events(PROJECT, 100))
    return [f"{one.device}: {one.reason}" if one.device else one.reason for one in found]
