"""What the service of flows says of itself: ``service.json`` in its folder, written by the service."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from model_deployment.flows.prefect import Address

FILE = "service.json"
LOG = "service.log"


class ServiceState(StrEnum):
    AWAY = "away"  # there is no process
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Service:
    """The service at one moment."""

    state: ServiceState
    pid: int | None = None
    address: Address | None = None


AWAY = Service(ServiceState.AWAY)


def read(folder: Path, is_service: Callable[[int], bool]) -> Service:
    """The service now.

    Args:
        is_service: whether a process with this id lives, and is the service: the file of a service that
            was killed stays, and its id may have been given to another process.
    """
    try:
        found = json.loads((folder / FILE).read_bytes())
        pid, state = int(found["pid"]), ServiceState(found["state"])
        url, auth = found.get("api_url") or "", found.get("auth") or ""
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return AWAY
    if not is_service(pid):
        return AWAY
    if state is ServiceState.READY and not str(url).startswith("http://127.0.0.1:"):
        return Service(ServiceState.STARTING, pid)
    address = Address(str(url), str(auth)) if state is ServiceState.READY else None
    return Service(state, pid, address)
