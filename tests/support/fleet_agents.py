"""Devices of a fleet, as they are by themselves: what they hear, do and say."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from model_deployment.core.devices import DeviceMessage, MessageKind, UpdateState
from model_deployment.core.releases import Release


@dataclass(slots=True)
class Agent:
    """A device, as it is by itself."""

    name: str
    id: int
    online: bool = True
    #: It takes so many looks for an update.
    looks: int = 1
    #: It never says what came of an update.
    mute: bool = False
    sent: int = 0
    unsent: list[DeviceMessage] = field(default_factory=list)
    #: Highest number that it has accepted.
    accepted: int = 0
    #: Version that it runs, and every number that it ran.
    version: int | None = None
    ran: set[int] = field(default_factory=set)
    #: By number: looks so far. Negative: it is done with it.
    busy: dict[int, int] = field(default_factory=dict)

    def go_on(self, wanted: Release, now: datetime, bad: Collection[int]) -> None:
        """It hears what it should run, and takes the next step to it; ``bad`` versions fail."""
        looks = self.busy.get(wanted.number, 0)
        if looks < 0 or self.mute:
            return
        if wanted.number < self.accepted:
            self.busy[wanted.number] = -1
            text = f"release {wanted.number} is older than {self.accepted}"
            self.say(wanted, now, UpdateState.REFUSED, text)
            return
        self.accepted = wanted.number
        self.busy[wanted.number] = looks + 1
        if looks + 1 < self.looks:
            self.say(wanted, now, UpdateState.DOWNLOADING)
            return
        self.busy[wanted.number] = -1
        if wanted.key.version in bad:
            self.say(wanted, now, UpdateState.FAILED, "the model answers NaN")
            return
        self.version = wanted.key.version
        self.ran.add(wanted.number)
        self.say(wanted, now, UpdateState.RUNNING)

    def say(self, release: Release, now: datetime, state: UpdateState, reason: str = "") -> None:
        """It has something to say of an update, which it sends until that is acknowledged."""
        self.sent += 1
        data = {"release": release.number, "state": str(state), "reason": reason}
        self.unsent.append(DeviceMessage(self.sent, MessageKind.PROGRESS, now, data))
