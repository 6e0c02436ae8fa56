"""The loop of updates: looks at what is stored and wanted, and has the next step carried out."""

import asyncio
import contextlib
import logging
import time
from dataclasses import replace

from model_deployment_agent import update_store
from model_deployment_agent.clock import Clock
from model_deployment_agent.database import Database
from model_deployment_agent.download import Cancelled
from model_deployment_agent.errors import AgentError
from model_deployment_agent.outbox import Outbox
from model_deployment_agent.release_folders import ReleaseFolders
from model_deployment_agent.serving import Serving
from model_deployment_agent.update_rules import SERVING, Situation, Step, UpdateStage, decide
from model_deployment_agent.update_steps import UpdateSteps
from model_deployment_agent.wanted_release import WantedRelease

log = logging.getLogger(__name__)

#: Seconds after which the updater looks at everything again.
_LOOK = 30.0


class Updater:
    """Brings the device to what is wanted."""

    def __init__(
        self,
        store: Database,
        clock: Clock,
        outbox: Outbox,
        folders: ReleaseFolders,
        serving: Serving,
        wanted: WantedRelease,
        steps: UpdateSteps,
        *,
        watch: float,
    ) -> None:
        """
        Args:
            watch: seconds for which a new release has to prove itself.
        """
        self._store = store
        self._clock = clock
        self._outbox = outbox
        self._folders = folders
        self._serving = serving
        self._wanted = wanted
        self._steps = steps
        self._watch = watch
        self._wake = serving.news
        #: Numbers whose end the controller was told of since this agent runs.
        self._told: set[int] = set()

    def offered(self, release: object) -> None:
        """The controller said what is desired: JSON, or None.

        Raises:
            AgentError: it cannot be stored.
        """
        if self._wanted.offered(release):
            self._steps.cancel()
        self._wake.set()

    async def run(self) -> None:
        """Go from step to step, for ever."""
        self._count_start(1)
        try:
            while True:
                self._wake.clear()
                try:
                    await self._next()
                except Cancelled:
                    log.info("the download ends: another release is wanted")
                except (AgentError, OSError) as error:
                    log.warning("the update waits: %s", error)
                    await self._rest(self._steps.backoff.pause())
        finally:
            with contextlib.suppress(AgentError):
                self._count_start(-1)
            await self._steps.close()

    async def _next(self) -> None:
        decision = decide(self._situation())
        if decision.step is Step.NOTHING:
            self._tell_again()
            left = self._watch - (time.monotonic() - self._serving.since)
            await self._rest(min(_LOOK, left) if left > 0 else _LOOK)  # news end it earlier
            return
        log.info("update: %s%s", decision.step, f" ({decision.reason})" * bool(decision.reason))
        await self._steps.do(decision)
        if self._wanted.wanted is not None:
            self._told.add(self._wanted.wanted.number)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _count_start(self, by: int) -> None:
        """Count starts while a release is watched: the kernel may have ended the agent for its memory."""
        with self._store.transaction() as connection:
            row = update_store.load(connection)
            if row is not None and row.stage is UpdateStage.WATCHING:
                counted = replace(row, starts=max(0, row.starts + by))
                update_store.save(connection, counted, self._clock.now())

    def _situation(self) -> Situation:
        current, previous = self._folders.named("current"), self._folders.named("previous")
        with self._store.transaction() as connection:
            row = update_store.load(connection)
            failed = frozenset(update_store.failed(connection))
        if self._wanted.look(current, row, failed):
            self._outbox.changed.set()
        wanted = self._wanted.manifest
        watched = row is not None and row.stage is UpdateStage.WATCHING
        served = time.monotonic() - self._serving.since
        return Situation(
            wanted=self._wanted.wanted,
            row=row,
            current=current,
            previous=previous,
            failed=failed,
            complete=wanted is not None and not self._folders.missing(wanted),
            trouble=self._serving.trouble(watched=watched),
            proven=watched and self._serving.active is not None and served >= self._watch,
        )

    def _tell_again(self) -> None:
        """Tell a controller that still wants a release what became of it; once for each start of the agent.

        The controller may have been restored, or the message may have been lost with a broken store.
        """
        wanted = self._wanted.wanted
        if wanted is None or not self._wanted.fresh or wanted.number in self._told:
            return
        with self._store.transaction() as connection:
            row, failed = update_store.load(connection), update_store.failed(connection)
            now = self._clock.now()
            if wanted.number in failed:
                reason = failed[wanted.number]
                update_store.tell(connection, wanted.number, "failed", reason, now)
            elif row is None or (row.folder == wanted.folder and row.stage in SERVING):
                update_store.tell(connection, wanted.number, "running", "", now)
        self._told.add(wanted.number)
        self._outbox.changed.set()
