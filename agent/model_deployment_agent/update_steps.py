"""Carries out the steps that ``update_rules`` decides on. Each may be done twice, and killed anywhere."""

import asyncio
import logging
import threading
from dataclasses import replace

from model_deployment_agent import download, trial, update_store
from model_deployment_agent.backoff import Backoff
from model_deployment_agent.clock import Clock
from model_deployment_agent.controller import Controller
from model_deployment_agent.database import Database
from model_deployment_agent.errors import AgentError, UpdateFailed
from model_deployment_agent.folder import Folder, Identity
from model_deployment_agent.manifest import Manifest
from model_deployment_agent.model_child import ModelChild, ModelLimits
from model_deployment_agent.outbox import Outbox
from model_deployment_agent.release_folders import CHUNK, BrokenFile, ReleaseFolders
from model_deployment_agent.serving import Serving
from model_deployment_agent.update_rules import Decision, Step, UpdateRow, UpdateStage
from model_deployment_agent.wanted_release import WantedRelease

log = logging.getLogger(__name__)

#: Files that came broken, before a release fails.
MAX_BROKEN = 3
#: Seconds between two reports of how many bytes have come.
_REPORT = 10.0


class UpdateSteps:
    """Effects of one update: files, processes, links, rows."""

    def __init__(
        self,
        folder: Folder,
        identity: Identity,
        store: Database,
        clock: Clock,
        outbox: Outbox,
        controller: Controller,
        folders: ReleaseFolders,
        serving: Serving,
        limits: ModelLimits,
        wanted: WantedRelease,
        *,
        one_model: bool,
    ) -> None:
        """
        Args:
            one_model: the model that serves is ended while another one is tried, for its memory.
        """
        self._folder = folder
        self._identity = identity
        self._store = store
        self._clock = clock
        self._outbox = outbox
        self._controller = controller
        self._folders = folders
        self._serving = serving
        self._limits = limits
        self._wanted = wanted
        self._one_model = one_model
        self._cancelled = threading.Event()
        self._broken = 0
        self._candidate: ModelChild | None = None
        #: Pauses after calls that failed.
        self.backoff = Backoff()

    async def do(self, decision: Decision) -> None:
        """Carry out a step. A release that cannot run is noted as failed.

        Raises:
            BrokenFile: a file has to be loaded again.
            Cancelled: another release is wanted.
            AgentError: the step has to be done again later.
        """
        effects = {
            Step.ACCEPT: self._accept,
            Step.ABANDON: self._abandon,
            Step.LOAD: self._load,
            Step.BUILD: self._build,
            Step.TRY: self._try,
            Step.SWAP: self._swap,
            Step.KEEP: self._keep,
        }
        try:
            if decision.step in effects:
                await effects[decision.step]()
            elif decision.step is Step.GO_BACK:
                row = replace(self._row(), stage=UpdateStage.RETURNING, reason=decision.reason)
                self._save(row)
            elif decision.step is Step.RETURN:
                await self._return(decision.reason)
            elif decision.step is Step.FAIL:
                self._fail(decision.reason)
        except BrokenFile as error:
            self._broken += 1
            if self._broken < MAX_BROKEN:
                raise
            self._fail(f"{error}, {self._broken} times")
        except UpdateFailed as error:
            self._fail(str(error))

    def cancel(self) -> None:
        """Another release is wanted: a download under way ends."""
        self._cancelled.set()
        self.backoff.reset()

    async def close(self) -> None:
        """End what an unfinished step left behind."""
        if self._candidate is not None:
            await self._candidate.end()

    def _row(self) -> UpdateRow:
        with self._store.transaction() as connection:
            row = update_store.load(connection)
        if row is None:
            raise AgentError("the update is gone: its row was removed meanwhile")
        return row

    def _release(self) -> Manifest:
        if self._wanted.manifest is None:
            raise AgentError("the update is gone: nothing is wanted any more")
        return self._wanted.manifest

    def _save(self, row: UpdateRow | None, *, size: int = 0) -> None:
        with self._store.transaction() as connection:
            update_store.save(connection, row, self._clock.now(), size=size)
        self._outbox.changed.set()

    def _fail(self, reason: str) -> None:
        row = self._row()
        log.error("release %d failed: %s", row.number, reason)
        self._save(replace(row, stage=UpdateStage.FAILED, reason=reason))
        self._folders.tidy(None)

    async def _accept(self) -> None:
        release = self._release()
        with self._store.transaction() as connection:
            update_store.accept(connection, release.number, release.created)
            row = UpdateRow(release.number, release.folder, UpdateStage.DOWNLOADING)
            update_store.save(connection, row, self._clock.now(), size=release.size)
        self._outbox.changed.set()
        self._broken = 0
        self.backoff.reset()

    async def _abandon(self) -> None:
        self._save(None)
        self._folders.tidy(self._wanted.manifest)

    async def _load(self) -> None:
        self._cancelled.clear()
        release, token = self._release(), self._folder.token_of(self._identity)
        missing = self._folders.missing(release)
        download.check_space(self._folder.blobs, missing)
        progress = [release.size - sum(one.size for one in missing)]
        before = progress[0] + sum(download.begun(self._folder.blobs, one) for one in missing)
        report = asyncio.create_task(self._report(release, progress))
        try:
            for file in missing:
                start = progress[0]

                def loaded(at: int, start: int = start) -> None:
                    progress[0] = start + at

                await asyncio.to_thread(
                    download.load,
                    self._controller,
                    token,
                    self._identity.project,
                    file,
                    self._folder.blobs,
                    loaded=loaded,
                    cancelled=self._cancelled,
                )
                progress[0] = start + file.size
                self.backoff.reset()
        finally:
            if progress[0] - before >= CHUNK:  # a line that is cut often is no line that is dead
                self.backoff.reset()
            self._cancelled.set()  # a thread does not end with its task
            self._controller.abort()
            report.cancel()

    async def _report(self, release: Manifest, progress: list[int]) -> None:
        while True:
            await asyncio.sleep(_REPORT)
            with self._store.transaction() as connection:
                now, had = self._clock.now(), progress[0]
                update_store.tell(
                    connection, release.number, "downloading", "", now, had=had, of=release.size
                )
            self.backoff.reset()
            self._outbox.changed.set()

    async def _build(self) -> None:
        release, row = self._release(), self._row()
        self._save(replace(row, stage=UpdateStage.VERIFYING), size=release.size)
        await asyncio.to_thread(self._folders.build, release, self._wanted.offer_of(release))
        self._save(replace(row, stage=UpdateStage.TRYING, starts=0), size=release.size)

    async def _try(self) -> None:
        release, row = self._release(), self._row()
        self._save(replace(row, starts=row.starts + 1))
        await self.close()
        self._candidate = None
        excused = bool(self._serving.trouble(watched=True))
        if self._one_model:
            await self._serving.pause()
        try:
            self._candidate = await trial.tried(self._folders, release, self._limits)
        except BaseException as error:
            if isinstance(error, AgentError) and not isinstance(error, UpdateFailed):
                self._save(row)  # the model did nothing: this trial does not count
            if self._one_model:
                await self._serving.reload()
            raise
        self._save(replace(row, stage=UpdateStage.SWITCHING, starts=0, excused=excused))

    async def _swap(self) -> None:
        row = self._row()
        current = self._folders.named("current")
        if current != row.folder:
            with self._store.transaction() as connection:
                proven = update_store.proven(connection)
            # The last one that has proved itself is kept, not one that was followed at once.
            if current is not None and (
                current == proven or self._folders.named("previous") is None
            ):
                self._folders.point("previous", current)
            self._folders.point("current", row.folder)
        candidate, self._candidate = self._candidate, None
        if candidate is not None:
            release = self._folders.manifest(row.folder)
            await self._serving.adopt(row.folder, release, candidate)
        else:
            await self._serving.reload()
        self._save(replace(row, stage=UpdateStage.WATCHING, starts=0))

    async def _keep(self) -> None:
        row = replace(self._row(), stage=UpdateStage.RUNNING, starts=0, excused=False)
        with self._store.transaction() as connection:
            update_store.prove(connection, row.folder)
            update_store.save(connection, row, self._clock.now())
        self._folders.tidy(self._wanted.manifest)

    async def _return(self, reason: str) -> None:
        row = self._row()
        previous = self._folders.named("previous")
        if self._folders.named("current") == row.folder and previous is not None:
            self._folders.point("current", previous)
        self._folders.unlink("previous")
        await self._serving.reload()
        self._fail(f"it went back to the release before: {reason}")
