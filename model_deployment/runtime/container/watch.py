"""What the engine knows of an instance's containers, kept fresh without making anybody wait for it."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping

from model_deployment.runtime.container import spec
from model_deployment.runtime.container.calls import Calls
from model_deployment.runtime.container.engine import Engine, EngineAway, Seen, Stream

#: Seconds for which a list of containers is used.
_FRESH = 1.0
#: Seconds that a caller waits for a list. After an engine has been slower, nobody waits until it answers.
_WAIT = 2.0
#: Seconds between attempts to follow the engine's events.
_PAUSE = 2.0


class Containers:
    """The containers of an instance, by the ids of their launches."""

    def __init__(
        self, engine: Engine, calls: Calls, instance: str, changed: Callable[[], None]
    ) -> None:
        """``changed`` is called when a container has ended, and when the engine answers again."""
        self._engine = engine
        self._calls = calls
        self._labels = {spec.INSTANCE: instance}
        self._changed = changed
        self._seen: dict[str, Seen] = {}
        #: When what is known was asked for; None: nothing is known.
        self._at: float | None = None
        self._asking: asyncio.Task[None] | None = None
        #: Why the engine did not answer; empty while it does. Unknown at first.
        self.away: str | None = None
        self._closed = threading.Event()
        self._follower: threading.Thread | None = None
        self._stream: Stream | None = None

    async def seen(self) -> Mapping[str, Seen]:
        """The containers, as they were a moment ago at most.

        Raises:
            EngineAway: it is not known now.
        """
        begun = time.monotonic()
        if self._at is not None and begun - self._at < _FRESH:
            return self._seen
        task = self._ask()
        await asyncio.wait({task}, timeout=0.0 if self.away else _WAIT)
        if self._at is not None and time.monotonic() - self._at < _FRESH + _WAIT:
            return self._seen
        self.away = self.away or f"the container engine has not answered within {_WAIT:g} s"
        raise EngineAway(self.away)

    def refresh(self) -> None:
        """Ask the engine, without waiting; ``changed`` is called if it was away."""
        if self._at is None or time.monotonic() - self._at >= _FRESH:
            self._ask()

    def outdated(self) -> None:
        """Something has happened: what is known is not used any longer."""
        self._at = None

    def _ask(self) -> "asyncio.Task[None]":
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._look(), name="containers")
        return self._asking

    async def _look(self) -> None:
        begun, before = time.monotonic(), self.away
        try:
            found = await self._calls.begin(lambda: self._engine.containers(**self._labels))
        except OSError as error:
            self.away, self._at = str(error), None
            return
        self._seen = {one.labels[spec.LAUNCH]: one for one in found if spec.LAUNCH in one.labels}
        self._at, self.away = begun, ""
        self._follow()
        if before != "":
            self._changed()

    def _follow(self) -> None:
        """Learn at once when a container ends. Without it, the next look finds out."""
        if self._follower is None and not self._closed.is_set():
            loop = asyncio.get_running_loop()
            self._follower = threading.Thread(
                target=self._listen, args=(loop,), name="container events", daemon=True
            )
            self._follower.start()

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        # A connection of its own, which waits for ever.
        engine = Engine(self._engine.url)
        while not self._closed.is_set():
            # ValueError: cut off in the middle of an event. RuntimeError: the loop is closed.
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                self._stream = engine.deaths(**self._labels)
                for _ in self._stream:
                    loop.call_soon_threadsafe(self._died)
            self._closed.wait(_PAUSE)
        engine.close()

    def _died(self) -> None:
        self.outdated()
        self._changed()

    async def close(self) -> None:
        self._closed.set()
        if self._stream is not None:
            with contextlib.suppress(Exception):  # the SDK looks for the socket inside of libraries
                self._stream.close()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
