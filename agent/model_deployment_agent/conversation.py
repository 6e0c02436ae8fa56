"""What the controller says and is told, whichever way: over a socket or by polling."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from model_deployment_agent.clock import Clock
from model_deployment_agent.commands import Commands
from model_deployment_agent.controller import Controller
from model_deployment_agent.folder import Folder, Identity
from model_deployment_agent.outbox import Outbox

PROTOCOL = 1
#: Times that a controller may tell, the years 2024 to 2100: others are mistakes. Milliseconds since 1970.
_EARLIEST, _LATEST = 1_704_067_200_000, 4_102_444_800_000


@dataclass(slots=True)
class LinkState:
    """How the device is connected, for its own status."""

    #: ``offline``, ``connected``, ``polling`` or ``rejected``.
    state: str = "offline"
    reason: str = "not connected yet"
    #: Generation of the connection.
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """What both ways need."""

    identity: Identity
    folder: Folder
    controller: Controller
    clock: Clock
    outbox: Outbox
    commands: Commands
    #: Takes the release that is desired (JSON, or None).
    offered: Callable[[object], None]
    #: Number of the release that serves; None if none.
    running: Callable[[], int | None]
    health: Callable[[], Mapping[str, float | str]]
    state: LinkState = field(default_factory=LinkState)

    def told_time(self, found: Any) -> None:
        """The controller said what time it is, if it did."""
        if type(found) in {int, float} and _EARLIEST < found < _LATEST:
            self.clock.set(int(found))


async def wait_any(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most some seconds; whether it came."""
    # Not asyncio.wait_for: before Python 3.12 it can swallow a cancellation.
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
