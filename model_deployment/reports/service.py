"""Makes degradation reports: writes the inputs, runs the process that judges them, stores the outcome."""

import asyncio
import gzip
import logging
import secrets
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from model_deployment.core.errors import ModelDeploymentError, TooBusy, Unavailable
from model_deployment.core.names import ModelKey
from model_deployment.degradation.page import shared_parts
from model_deployment.degradation.report_files import EVIDENTLY, PAGE, shared
from model_deployment.degradation.wording.verdict_words import Verdict, words
from model_deployment.documents.base import (
    CapturedOn,
    Collection,
    Documents,
    Query,
    evidently_blob,
)
from model_deployment.documents.owner_view import DocumentSource
from model_deployment.documents.streams import stream
from model_deployment.reports.inputs import (
    SECONDS,
    InputWriter,
    Reference,
    ReportWindow,
    source_of,
)

_log = logging.getLogger(__name__)

#: Begins the ids of blobs that the pages of all reports share.
_SHARED = "evidently-"
#: Reports that may wait to be made.
_WAITING = 16

#: Called with each report and the one before.
OnReport = Callable[[ModelKey, Mapping[str, Any], Mapping[str, Any] | None], Awaitable[None]]


class Reporter:
    """Makes one report at a time: each takes seconds of a core, and predictions come first."""

    def __init__(
        self, store: DocumentSource, inputs: InputWriter, *, work: Path, on_report: OnReport
    ) -> None:
        """``work``: a folder of its own."""
        self._store = store
        self._inputs = inputs
        self._work = work
        self._on_report = on_report
        self._turn = asyncio.Semaphore(1)
        self._running: dict[tuple[ModelKey, str], asyncio.Task[dict[str, Any]]] = {}

    def open(self) -> None:
        """Delete what an interrupted controller left."""
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def close(self) -> None:
        """Cancel the reports that are being made."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def begin(
        self,
        key: ModelKey,
        since: datetime,
        until: datetime,
        source: CapturedOn = CapturedOn.SERVERS,
    ) -> str:
        """Begin to make a report, and return its id. The report is made whether or not a caller waits.

        Raises:
            TooBusy: too many reports are waiting to be made.
        """
        if len(self._running) >= _WAITING:
            raise TooBusy(
                f"cannot make a report of {key} now: {_WAITING} are waiting to be made",
                retry_after=30,
            )
        now = datetime.now(UTC)
        id = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        work = self._make(id, ReportWindow(key, since, until, source))
        task = asyncio.create_task(work, name=f"report {key}")
        # Retrieved, so that asyncio does not complain; who waits is given the exception as well.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        task.add_done_callback(lambda done: self._running.pop((key, id), None))
        self._running[key, id] = task
        return id

    async def wait(self, key: ModelKey, id: str, seconds: float) -> dict[str, Any] | None:
        """Wait for a report that is being made; None if none is, or it takes longer than ``seconds``."""
        task = self._running.get((key, id))
        if task is None:
            return None
        try:
            return await asyncio.wait_for(asyncio.shield(task), seconds)
        except TimeoutError:
            return None

    async def is_worthwhile(self, key: ModelKey, last: datetime | None) -> bool:
        """Whether a report could say anything: there are captures since the last one, and a reference.

        Raises:
            StoreUnavailable: the document store does not answer.
        """
        documents = await self._store.opened()
        query = Query.of(Collection.CAPTURES, key, since=last, limit=1)
        captured = [one async for one in documents.find(query)]
        return bool(captured) and await self._inputs.has_reference(documents, key)

    def is_running(self, key: ModelKey, id: str) -> bool:
        return (key, id) in self._running

    async def get(self, key: ModelKey, id: str) -> dict[str, Any] | None:
        documents = await self._store.opened()
        found = await documents.get(Collection.REPORTS, id)
        owned = found and (found["model"], found["version"]) == (key.model, key.version)
        return found if owned else None

    async def page(self, id: str) -> bytes | None:
        """The page of a report: HTML, compressed with gzip."""
        documents = await self._store.opened()
        return await documents.get_blob(id)

    async def has_evidently(self, id: str) -> bool:
        """Whether Evidently's page of a report is kept."""
        documents = await self._store.opened()
        return await documents.get_blob(evidently_blob(id)) is not None

    async def evidently(self, id: str) -> str | None:
        """Evidently's page of a report; None if there is none, or it was deleted."""
        documents = await self._store.opened()
        page = await documents.get_blob(evidently_blob(id))
        if page is None:
            return None
        html = await asyncio.to_thread(_unpacked, page)
        parts = {}
        for name in shared_parts.names(html):
            part = await documents.get_blob(f"{_SHARED}{name}")
            if part is None:
                return None
            parts[name] = await asyncio.to_thread(_unpacked, part)
        return shared_parts.join(html, parts)

    async def list_of_servers(self, key: ModelKey, limit: int) -> list[dict[str, Any]]:
        """As :meth:`list`, of what servers predicted: how the deployment does."""
        return await self.list(key, limit, CapturedOn.SERVERS)

    async def list(
        self, key: ModelKey, limit: int, source: CapturedOn | None = None
    ) -> list[dict[str, Any]]:
        """The newest reports first, without their details; ``source``: only those about its predictions."""
        names = ("_id", "ts", "verdict", "since", "until", "reference", "rows")
        return [
            # Reports of earlier versions have no headline.
            {
                **{name: one[name] for name in names},
                "source": source_of(one),
                "headline": one.get("headline") or words(one["verdict"]).name,
            }
            for one in await _newest(await self._store.opened(), key, limit, source)
        ]

    async def _make(self, id: str, window: ReportWindow) -> dict[str, Any]:
        async with self._turn:
            folder = self._work / id
            await asyncio.to_thread(folder.mkdir, mode=0o700)
            documents = await self._store.opened()
            before = await _newest(documents, window.key, 1, window.source)
            try:
                reference = await self._inputs.write(documents, window, folder)
                await _run(folder)
                content = await asyncio.to_thread((folder / "report.json").read_bytes)
                made = _document(id, window, reference, orjson.loads(content))
                await _store_pages(documents, id, folder)
            except ModelDeploymentError as error:
                made = _failed(id, window, error.detail)
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, True)
            await documents.insert(Collection.REPORTS, [made])
        key = window.key
        fields = {"model": key.model, "version": key.version}
        _log.info("report %s of %s: %s", id, key, made["verdict"], extra=fields)
        if window.source is CapturedOn.DEVICES:
            return made  # it says nothing of the deployment, and was asked for
        try:
            await self._on_report(window.key, made, before[0] if before else None)
        except Exception:
            _log.exception("cannot announce report %s", id)
        return made


async def _newest(
    documents: Documents, key: ModelKey, limit: int, source: CapturedOn | None
) -> list[dict[str, Any]]:
    query = Query.of(Collection.REPORTS, key, newest_first=True)
    found: list[dict[str, Any]] = []
    async with aclosing(stream(documents, query)) as reports:
        async for report in reports:
            if source is None or source_of(report) is source:
                found.append(report)
                if len(found) >= limit:
                    break
    return found


async def _store_pages(documents: Documents, id: str, folder: Path) -> None:
    """Store the page, Evidently's page, and what the latter shares with others, once."""
    for name, blob in ((PAGE, id), (EVIDENTLY, evidently_blob(id))):
        file = folder / name
        if await asyncio.to_thread(file.exists):
            await documents.put_blob(blob, await asyncio.to_thread(file.read_bytes))
    for name, file in (await asyncio.to_thread(shared, folder)).items():
        if await documents.get_blob(f"{_SHARED}{name}") is None:
            await documents.put_blob(f"{_SHARED}{name}", await asyncio.to_thread(file.read_bytes))


def _unpacked(content: bytes) -> str:
    return gzip.decompress(content).decode("utf-8")


def _document(
    id: str, window: ReportWindow, reference: Reference, report: Mapping[str, Any]
) -> dict[str, Any]:
    before = reference.worse_before
    return {
        "_id": id,
        "model": window.key.model,
        "version": window.key.version,
        "ts": datetime.now(UTC),
        "source": str(window.source),
        "verdict": report["verdict"],
        "headline": report.get("headline") or words(report["verdict"]).name,
        "since": window.since.isoformat(),
        "until": window.until.isoformat(),
        "reference": reference.description,
        "rows": report.get("rows", {}),
        # By metric: consecutive windows in which it was worse, this one included.
        "worse": {name: before.get(name, 0) + 1 for name in report.get("worse_metrics", [])},
        "report": report,
    }


def _failed(id: str, window: ReportWindow, why: str) -> dict[str, Any]:
    """A report that could not be made is stored too, or the one before would pass for the newest."""
    reason = {"severity": "error", "code": "error", "column": None, "message": why, "advice": ""}
    report = {
        "verdict": str(Verdict.ERROR),
        "source": str(window.source),
        "reasons": [reason],
    }
    return _document(id, window, Reference(None, "none"), report)


async def _run(folder: Path) -> None:
    """Run the process that judges.

    Raises:
        Unavailable: it left no report.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "model_deployment.degradation",
        str(folder),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(2 * SECONDS):
            await child.wait()
    except TimeoutError:
        _log.error("a report took more than %s s, so its process was killed", 2 * SECONDS)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if not await asyncio.to_thread((folder / "report.json").exists):
        raise Unavailable(
            f"cannot make the report: its process ended with status {child.returncode} without a report"
        )
