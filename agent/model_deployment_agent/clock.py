"""What time it is: by the controller once it has said so, since a device may have no clock that goes on
without power."""

import time


class Clock:
    """Milliseconds since 1970."""

    def __init__(self) -> None:
        self._ahead: float | None = None

    def set(self, told: int) -> None:
        """The controller said what time it is."""
        self._ahead = told - time.monotonic() * 1000

    def now(self) -> int:
        """The time by the controller, else by this device."""
        if self._ahead is None:
            return int(time.time() * 1000)
        return int(time.monotonic() * 1000 + self._ahead)
