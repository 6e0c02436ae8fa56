"""Which release begins by itself, pure: one that takes a stopped one back, or of an endpoint's champion."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import (
    UNDECIDED,
    FollowedEndpoint,
    Release,
    ReleasePolicy,
    ReleaseState,
)


@dataclass(frozen=True, slots=True)
class BeginRelease:
    """A release to begin."""

    key: ModelKey
    policy: ReleasePolicy
    reason: str
    endpoint: EndpointName | None = None
    #: Number of the release that it takes back.
    reverts: int | None = None


def take_back(newest: Release | None, offerable: Sequence[Release]) -> BeginRelease | None:
    """The release that follows a stopped one: of the version that was complete before, for all at once.

    Nothing follows a release that itself took one back: what it went back to has failed as well. Nor one
    that no device can have: it was stopped before it was signed.

    Args:
        newest: the release of the project with the highest number.
        offerable: those of its releases that devices may be told to run.
    """
    if newest is None or newest.state is not ReleaseState.STOPPED:
        return None
    if newest.reverts is not None or not newest.manifest:
        return None
    complete = [
        one
        for one in offerable
        if one.state is ReleaseState.COMPLETE and one.number < newest.number
    ]
    if not complete:
        return None
    last = max(complete, key=lambda one: one.number)
    return BeginRelease(
        last.key,
        replace(newest.policy, groups=(), percent=(), soak=0.0),
        f"takes release {newest.number} ({newest.key}) back to {last.key}, as release {last.number}",
        reverts=newest.number,
    )


def follow(
    followed: FollowedEndpoint,
    champion: ModelKey | None,
    newest: Release | None,
    taken_back: Release | None,
) -> BeginRelease | None:
    """The release that an endpoint's champion becomes; None: nothing is to be done now.

    Args:
        champion: what the endpoint answers with; None if nothing, or there is no such endpoint.
        newest: the release of the project with the highest number.
        taken_back: the one that ``newest`` takes back.
    """
    if champion is None or (newest is not None and newest.key == champion):
        return None
    if newest is not None and newest.reverts is not None:
        if newest.state in UNDECIDED:
            return None  # devices leave the stopped version first
        if taken_back is not None and taken_back.key == champion:
            return None  # devices have proved that it does not run there; `setModel` tries it again
    reason = f"{champion} is the champion of {followed.endpoint}"
    return BeginRelease(champion, followed.policy, reason, followed.endpoint)
