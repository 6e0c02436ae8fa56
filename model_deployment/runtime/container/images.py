"""The images that launches start from: which are there, which are being built, which could not be built."""

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from model_deployment.runtime.container import spec
from model_deployment.runtime.container.build import Builder, remove_left
from model_deployment.runtime.container.engine import EngineAway
from model_deployment.runtime.container.environment import Recipe

_log = logging.getLogger(__name__)

#: Seconds after which it is looked up again whether an image is there, and its base image the same.
_FRESH = 30.0
#: Seconds after which an image that nothing was started from is removed.
UNUSED = 7 * 86400.0
#: Builds at the same time.
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Ready:
    """An image that can be started from."""

    image: str
    #: Monotonic seconds.
    since: float


@dataclass(slots=True)
class Making:
    """It is looked for, and built where it is not there."""

    progress: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be built. The next who wants it has it tried again."""

    error: OSError


State = Ready | Making | Failed


@dataclass(kw_only=True)
class Images:
    """Those of one instance. All methods are called in the event loop."""

    builder: Builder
    #: A file with the times of the last use of images.
    used: Path
    #: Called when an image has become ready, or has failed.
    changed: Callable[[], None]
    unused: float = UNUSED
    _states: dict[str, State] = field(default_factory=dict)
    _room: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(_AT_ONCE)
    )
    _closed: bool = False

    def state(self, recipe: Recipe) -> State:
        """That of the image for a recipe. One that is not there is begun."""
        found = self._states.get(recipe.digest)
        fresh = isinstance(found, Ready) and time.monotonic() < found.since + _FRESH
        if found is None or (isinstance(found, Ready) and not fresh):
            found = self._states[recipe.digest] = Making()
            self._begin(recipe, found)
        return found

    def take(self, recipe: Recipe) -> str:
        """The id of an image to start from.

        Raises:
            OSError: it could not be built; or it is not ready.
        """
        found = self._states.get(recipe.digest)
        if isinstance(found, Failed):
            del self._states[recipe.digest]
            raise found.error
        if not isinstance(found, Ready):
            raise BlockingIOError("its image is not ready")
        _note_use(self.used, found.image)
        return found.image

    def forget(self, recipe: Recipe) -> None:
        """Look for the image again: it was removed."""
        self._states.pop(recipe.digest, None)

    def _begin(self, recipe: Recipe, state: Making) -> None:
        loop = asyncio.get_running_loop()

        def tell(text: str) -> None:
            state.progress = text
            _log.info("image %s: %s", recipe.repository, text)

        def run() -> None:
            after: State
            try:
                with self._room:
                    after = Ready(self.builder.image(recipe, tell), time.monotonic())
            except OSError as error:
                after = Failed(error)
            except Exception as error:
                _log.exception("cannot build an image")
                after = Failed(OSError(f"cannot build an image: {error!r}"))
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any longer
                loop.call_soon_threadsafe(self._end, recipe.digest, state, after)

        # A daemon: a build that goes on must not keep the controller from ending.
        threading.Thread(target=run, name="image", daemon=True).start()

    def _end(self, digest: str, before: Making, after: State) -> None:
        if self._states.get(digest) is not before or self._closed:
            return
        if isinstance(after, Failed) and isinstance(after.error, EngineAway):
            # Nothing is known of the image: the launch goes on waiting for the engine.
            del self._states[digest]
        else:
            self._states[digest] = after
        self.changed()

    def tidy(self) -> None:
        """Remove what builds of killed controllers left, and images unused for long. Blocking.

        Raises:
            OSError: the engine could not be asked.
        """
        running = {one for one, state in [*self._states.items()] if isinstance(state, Making)}
        remove_left(self.builder.engine, self.builder.instance, running)
        times, now = _read_uses(self.used), time.time()
        ours = {
            str(one["Id"]): str((one.get("Labels") or {}).get(spec.ENVIRONMENT))
            for one in self.builder.engine.images(**{spec.INSTANCE: self.builder.instance})
        }
        for image, digest in ours.items():
            if times.setdefault(image, now) + self.unused > now or digest in running:
                continue
            with contextlib.suppress(OSError):  # used by a container
                self.builder.engine.remove_image(image)
                self._states.pop(digest, None)
                _log.info("removed image %s, which was not used for long", image)
        _write_uses(self.used, {image: at for image, at in times.items() if image in ours})

    def close(self) -> None:
        self._closed = True


def _read_uses(path: Path) -> dict[str, float]:
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        return {str(image): float(at) for image, at in json.loads(path.read_bytes()).items()}
    return {}


def _write_uses(path: Path, times: dict[str, float]) -> None:
    """A full disk costs the knowledge of the last use: an image is kept for longer."""
    draft = path.with_suffix(".new")
    with contextlib.suppress(OSError):
        draft.write_text(json.dumps(times), encoding="utf-8")
        draft.replace(path)


def _note_use(path: Path, image: str) -> None:
    _write_uses(path, {**_read_uses(path), image: time.time()})
