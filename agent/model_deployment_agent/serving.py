"""The model that serves: kept running, asked one request after the other, and watched after an update."""

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from typing import Any

from model_deployment_agent.backoff import LONGEST, Backoff
from model_deployment_agent.errors import AgentError, BadInput, ModelFailed
from model_deployment_agent.manifest import Manifest
from model_deployment_agent.model_child import ModelChild, ModelLimits
from model_deployment_agent.prediction_input import PredictionInput
from model_deployment_agent.recorder import Recorder
from model_deployment_agent.release_folders import ReleaseFolders

log = logging.getLogger(__name__)

#: Predictions in a row that fail before a release counts as broken.
FAILURES = 5
#: Starts in a row that fail before a release that was good counts as broken.
START_FAILURES = 3
#: Requests that wait for their turn.
MAX_WAITING = 32


class NotServing(AgentError):
    """No model runs just now."""


@dataclass(frozen=True, slots=True)
class Active:
    """What serves."""

    manifest: Manifest
    child: ModelChild


class Serving:
    """One model at a time; the next one takes its place between two requests."""

    def __init__(
        self, folders: ReleaseFolders, recorder: Recorder, limits: ModelLimits, *, watch: float
    ) -> None:
        """
        Args:
            watch: seconds for which a crash counts.
        """
        self._folders = folders
        self._recorder = recorder
        self._limits = limits
        self._watch = watch
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._changed = asyncio.Event()
        self._paused = False
        #: Set when the updater should look: another process serves, or there is trouble.
        self.news = asyncio.Event()
        self.active: Active | None = None
        self._name: str | None = None
        self._forget()

    def _forget(self) -> None:
        """Another release serves, so what went wrong before counts no more."""
        self._failures, self._starts_failed = 0, 0
        self._crashed: float | None = None
        self._why = ""
        self.since = time.monotonic()

    def trouble(self, *, watched: bool) -> str:
        """What is wrong with the release that serves; empty: nothing.

        Args:
            watched: it is new, and one crash is too many.
        """
        if self._starts_failed >= (1 if watched else START_FAILURES):
            return f"the model does not start: {self._why}"
        if not watched:
            return ""
        if self._crashed is not None and time.monotonic() - self._crashed < self._watch:
            return f"the model crashed: {self._why}"
        if self._failures >= FAILURES:
            return f"{self._failures} predictions in a row failed: {self._why}"
        return ""

    async def predict(self, given: PredictionInput) -> tuple[Manifest, list[Any]]:
        """Predictions, and the release that they are from.

        Raises:
            NotServing: there is no model, or too many requests wait.
            BadInput, ModelFailed: as :meth:`ModelChild.predict`.
        """
        if self._waiting >= MAX_WAITING:
            raise NotServing(
                f"cannot predict: {MAX_WAITING} requests wait already; try again later"
            )
        self._waiting += 1
        try:
            async with self._turn:
                return await self._predict(given)
        finally:
            self._waiting -= 1

    async def _predict(self, given: PredictionInput) -> tuple[Manifest, list[Any]]:
        active = self.active
        if active is None or not active.child.usable:
            why = (
                f"the model is not running ({self._why})" if self._why else "there is no model yet"
            )
            raise NotServing(f"cannot predict: {why}; try again later")
        begun = time.monotonic()
        try:
            predictions = await active.child.predict(given)
        except BadInput:
            self._recorder.failed(active.manifest, "bad_input")
            raise
        except ModelFailed as error:
            self._recorder.failed(active.manifest, "model")
            self._failures += 1
            self._why = str(error)
            self.news.set()
            raise
        self._failures = 0
        self._recorder.succeeded(active.manifest, given, predictions, time.monotonic() - begun)
        return active.manifest, predictions

    async def adopt(self, name: str, manifest: Manifest, child: ModelChild) -> None:
        """Let a process that was started serve, then end the one before."""
        async with self._turn:
            before, self.active = self.active, Active(manifest, child)
            self._paused = False
            if name != self._name:
                self._name = name
                self._forget()
            self._changed.set()
            self.news.set()
        log.info(
            "release %d serves (%s %d, %s)",
            manifest.number,
            manifest.model,
            manifest.version,
            child.form,
        )
        if before is not None:
            await before.child.end()

    async def reload(self) -> None:
        """Serve what ``current`` names now; until it has started, nothing serves."""
        await self._end(paused=False)

    async def pause(self) -> None:
        """Serve nothing until :meth:`adopt` or :meth:`reload`: the memory is needed."""
        await self._end(paused=True)

    async def _end(self, *, paused: bool) -> None:
        async with self._turn:
            before, self.active = self.active, None
            self._paused = paused
            self._changed.set()
        if before is not None:
            await before.child.end()

    async def run(self) -> None:
        """Keep the model running, until cancelled."""
        backoff = Backoff()
        try:
            while True:
                self._changed.clear()
                if self.active is None:
                    await self._start(backoff)
                elif await self._crash_of(self.active):
                    if time.monotonic() - self.since > LONGEST:
                        backoff.reset()
                    await self._pause(backoff)
        finally:
            if self.active is not None:
                await self.active.child.end()

    async def _start(self, backoff: Backoff) -> None:
        name = self._folders.named("current")
        with contextlib.suppress(OSError):
            if name is None and not self._paused and self._folders.fall_back():
                return
        if name is None or self._paused:
            await self._changed.wait()
            return
        if name != self._name:
            self._name = name
            self._forget()
        try:
            # Memory cards lose bits over the years: what was whole when it was built need not be so now.
            damage = await asyncio.to_thread(self._folders.damage, name)
            if damage:
                log.error("release %s is damaged, and is loaded again: %s", name, damage)
                self._why = damage
                self._folders.set_aside(name)
                self.news.set()
                return
            manifest = self._folders.manifest(name)
            child = await ModelChild.start(self._folders.path(name), manifest.onnx, self._limits)
        except (AgentError, OSError) as error:
            self._why = str(error)
            self._starts_failed += 1
            self.news.set()
            log.error("the model of %s does not start: %s", name, error)
            await self._pause(backoff)
            return
        if self.active or self._paused or self._folders.named("current") != name:
            await child.end()  # the updater was faster
            return
        self._starts_failed = 0
        await self.adopt(name, manifest, child)

    async def _pause(self, backoff: Backoff) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(backoff.pause()):
                await self._changed.wait()

    async def _crash_of(self, active: Active) -> bool:
        """Wait until a process ends or another takes its place; whether it ended by itself."""
        ended = asyncio.create_task(active.child.ended())
        changed = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait({ended, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ended, changed):
                task.cancel()
        if self.active is not active or active.child.running:
            return False
        self.active = None
        await active.child.end()
        if active.child.crashed:
            self._crashed = time.monotonic()
            self._why = active.child.how_ended()
            log.error("the model of release %d crashed: %s", active.manifest.number, self._why)
        self.news.set()
        return active.child.crashed
