"""Hands a version to an endpoint, and waits for what the endpoint's rollout decides."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from model_deployment.client import ApiError, Client, ClientError
from model_deployment.core.endpoints import ACTIVE
from model_deployment_flows.environment import Environment

if TYPE_CHECKING:
    from model_deployment.client.answers import EndpointDetail

#: Seconds between two looks at a rollout.
_PAUSE = 1.0
_NUMBER = re.compile(r"\d+")
#: Where the controller is run by itself.
_URL_VARIABLE = "MODEL_DEPLOYMENT_URL"


class Outcome(StrEnum):
    """What became of a version that was handed over."""

    SERVES = "serves"
    ROLLED_BACK = "rolled_back"
    #: The alias moved on to another version.
    SUPERSEDED = "superseded"
    #: Not decided yet: the rollout goes on by itself.
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Handover:
    """What became of it, and why; ``champion`` serves the endpoint now."""

    outcome: Outcome
    reason: str = ""
    champion: int | None = None


class NoController(RuntimeError):
    """The run does not know where the controller is."""


def controller(environment: Environment) -> Client:
    """A client of the controller.

    Raises:
        NoController: its address is not set.
    """
    if not environment.controller_url:
        raise NoController(
            f"cannot hand a version to its endpoint: {_URL_VARIABLE} is not set, so the run does not "
            "know the controller; `model-deployment flows serve` sets it"
        )
    user, password = environment.user or "", environment.password or ""
    return Client(environment.controller_url, user=user, password=password)


def endpoint(client: Client, name: str) -> EndpointDetail | None:
    """An endpoint; None if it has not been made."""
    try:
        return client.endpoint(name)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


@dataclass(frozen=True, slots=True)
class Before:
    """An endpoint before its alias moves."""

    champion: int | None = None
    #: Id of its newest rollout; 0: it had none.
    newest_rollout: int = 0
    #: No rollout is under way, and the alias names the champion.
    settled: bool = False


def before(client: Client, name: str) -> Before:
    """What an endpoint serves."""
    found = endpoint(client, name)
    if found is None:
        return Before()
    newest = max((one["id"] for one in found["rollouts"]), default=0)
    settled = not _under_way(found) and found["alias_version"] == found["champion"]
    return Before(found["champion"], newest, settled)


def is_refused(found: EndpointDetail, version: int) -> bool:
    """Whether the endpoint has rolled this version back, and the alias names it still."""
    return (
        found["alias_version"] == version and found["champion"] != version and not _under_way(found)
    )


def _under_way(found: EndpointDetail) -> bool:
    rollout = found["rollout"]
    return rollout is not None and rollout["state"] in {*ACTIVE}


def look(found: EndpointDetail, version: int) -> Handover:
    """What has become of a version at an endpoint, pure."""
    champion = found["champion"]
    rollout = found["rollout"]
    newest = next((one for one in found["rollouts"] if one["candidate"] == version), None)
    if rollout is not None and rollout["candidate"] == version and _under_way(found):
        return Handover(Outcome.UNDECIDED, rollout["reason"] or str(rollout["state"]), champion)
    if champion == version:
        return Handover(Outcome.SERVES, "", champion)
    if newest is not None and newest["state"] == "rolled_back":
        return Handover(Outcome.ROLLED_BACK, newest["reason"], champion)
    if newest is not None and newest["state"] == "superseded":
        return Handover(Outcome.SUPERSEDED, newest["reason"], champion)
    return Handover(Outcome.UNDECIDED, found["notice"] or "waiting for the endpoint", champion)


def _is_final(status: int) -> bool:
    """Whether a refusal with this HTTP status stays: not where there were too many calls."""
    return 400 <= status < 500 and status != HTTPStatus.TOO_MANY_REQUESTS


def _news(seen: Handover) -> tuple[Any, ...]:
    """What is told once: numbers that count up or down are no news."""
    return seen.outcome, _NUMBER.sub("", seen.reason), seen.champion


def follow(
    client: Client,
    name: str,
    version: int,
    *,
    after: int,
    wait: float,
    told: Callable[[str], None],
    pause: Callable[[float], Any] = time.sleep,
) -> Handover:
    """Wait until the endpoint has decided about a version.

    A controller that does not answer is asked again: the rollout goes on when it is back. One that refuses
    to say is not: it would refuse again.

    Args:
        after: id of the endpoint's newest rollout before the alias moved; 0: it had none.
        wait: seconds at most.
        told: gets a line when something has changed.
    """
    end = time.monotonic() + wait
    last = Handover(Outcome.UNDECIDED, "the endpoint has not been asked")
    refused = False
    while True:
        try:
            found = client.endpoint(name)
            recent = [one for one in found["rollouts"] if one["id"] > after]
            seen = look({**found, "rollouts": recent}, version)
        except ClientError as error:
            refused = isinstance(error, ApiError) and _is_final(error.status)
            what = "refuses to say" if refused else "does not answer"
            seen = Handover(Outcome.UNDECIDED, f"the controller {what}: {error}")
        if _news(seen) != _news(last):
            told(
                f"{name}: version {version}: {seen.outcome}{': ' if seen.reason else ''}{seen.reason}"
            )
        last = seen
        if refused or seen.outcome is not Outcome.UNDECIDED or time.monotonic() >= end:
            return seen
        pause(min(_PAUSE, max(0.0, end - time.monotonic())))
