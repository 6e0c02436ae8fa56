"""Makes degradation reports: gathers what is known, has a child process judge it, and keeps the outcome."""

import asyncio
import json
import logging
import secrets
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import orjson

from model_deployment.documents.base import Collection, Documents, Query
from model_deployment.domain import ModelKey
from model_deployment.errors import ModelDeploymentError, TooBusy, Unavailable
from model_deployment.monitoring.keeper import Keeper
from model_deployment.monitoring.service import Monitoring

_log = logging.getLogger(__name__)

#: Captured requests, and rows of them, that a report looks at; the newest ones.
_CAPTURES, _ROWS = 20_000, 50_000
#: Rows that are frozen as reference where there is no training data.
_FROZEN = 1000
#: Reports that may wait for their turn.
_WAITING = 16
#: Seconds and bytes that a report may take.
_SECONDS, _MEMORY = 300, 2 * 1024**3
_HISTORY = 100

#: The worst first; what cannot be told is none of them.
SEVERITY = {"degraded": 3, "drift": 2, "ok": 1}


class TrainingData(Protocol):
    """What the training data of a version is."""

    @property
    def path(self) -> Path:
        """A local Parquet or CSV file."""
        ...

    @property
    def origin(self) -> str:
        """Where it is from."""
        ...

    @property
    def target(self) -> str | None:
        """The column that the model predicts, if that is known."""
        ...


#: The training data of a version; None if there is none to be had.
FindTraining = Callable[[ModelKey], Awaitable[TrainingData | None]]
#: The signature of a deployed model in MLflow's JSON form.
FindSignature = Callable[[ModelKey], Awaitable[Mapping[str, Any] | None]]
#: Told of each report.
Done = Callable[[ModelKey, Mapping[str, Any], Mapping[str, Any] | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Reference:
    source: str | None
    description: str
    target: str | None = None


class Reporter:
    """One report at a time: they take seconds of a core, and predictions come first."""

    def __init__(
        self,
        keeper: Keeper,
        monitoring: Monitoring,
        *,
        work: Path,
        training: FindTraining,
        signature: FindSignature,
        baseline: Callable[[ModelKey], Awaitable[dict[str, float]]],
        done: Done,
    ) -> None:
        self._keeper = keeper
        self._monitoring = monitoring
        self._work = work
        self._training = training
        self._signature = signature
        self._baseline = baseline
        self._done = done
        self._turn = asyncio.Semaphore(1)
        self._running: dict[str, asyncio.Task[dict[str, Any]]] = {}

    def open(self) -> None:
        """Clear away what an earlier controller was about to make."""
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def begin(self, key: ModelKey, since: datetime, until: datetime) -> str:
        """Begin to make a report; its id. It goes on when nobody waits for it.

        Raises:
            TooBusy: too many are waiting to be made.
        """
        if len(self._running) >= _WAITING:
            raise TooBusy(
                f"cannot make a report of {key} now: {_WAITING} are waiting to be made",
                retry_after=30,
            )
        now = datetime.now(UTC)
        id = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        task = asyncio.create_task(self._make(id, key, since, until), name=f"report {key}")
        # Retrieved here: whoever waits is given it all the same.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        task.add_done_callback(lambda done: self._running.pop(id, None))
        self._running[id] = task
        return id

    async def wait(self, id: str, seconds: float) -> dict[str, Any] | None:
        """A report that is being made, or None if it takes longer."""
        task = self._running.get(id)
        if task is None:
            return None
        try:
            return await asyncio.wait_for(asyncio.shield(task), seconds)
        except TimeoutError:
            return None

    def is_running(self, id: str) -> bool:
        """Whether it is still being made."""
        return id in self._running

    async def get(self, key: ModelKey, id: str) -> dict[str, Any] | None:
        """A report that was made."""
        documents = await self._keeper.opened()
        found = await documents.get(Collection.REPORTS, id)
        return found if found and (found["model"], found["version"]) == _pair(key) else None

    async def page(self, id: str) -> bytes | None:
        """Its page for people, packed with gzip."""
        documents = await self._keeper.opened()
        return await documents.get_blob(id)

    async def list(self, key: ModelKey, limit: int) -> list[dict[str, Any]]:
        """Reports made so far, newest first, without their details."""
        documents = await self._keeper.opened()
        query = Query(Collection.REPORTS, *_pair(key), newest_first=True, limit=limit)
        names = ("_id", "ts", "verdict", "since", "until", "reference", "rows")
        return [{name: one[name] for name in names} async for one in documents.find(query)]

    async def _make(
        self, id: str, key: ModelKey, since: datetime, until: datetime
    ) -> dict[str, Any]:
        async with self._turn:
            folder = self._work / id
            folder.mkdir(mode=0o700)
            try:
                documents = await self._keeper.opened()
                before = await self._last(documents, key)
                reference = await self._gather(documents, key, since, until, folder)
                job = await self._job(key, since, until, reference, before)
                await asyncio.to_thread(_write, folder / "job.json", [job])
                await _run(folder)
                made = await self._keep(documents, id, key, job, reference, folder)
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, True)
        await self._done(key, made, before)
        return made

    async def _gather(
        self, documents: Documents, key: ModelKey, since: datetime, until: datetime, folder: Path
    ) -> _Reference:
        """Lay down captures, labels and the reference."""
        reference = await self._reference(documents, key, folder)
        if reference.source == "captured":
            frozen = await _newest(documents, Query(Collection.REFERENCES, *_pair(key)))
            await asyncio.to_thread(_write, folder / "reference.jsonl", frozen)
            since = max(since, frozen[-1]["ts"] + timedelta(milliseconds=1))
        query = Query(Collection.CAPTURES, *_pair(key), since, until)
        captures = await _newest(documents, query)
        await asyncio.to_thread(_write, folder / "captures.jsonl", captures)
        ids = sorted({capture["request_id"] for capture in captures})
        labels = Query(Collection.LABELS, *_pair(key), request_ids=ids)
        await asyncio.to_thread(
            _write, folder / "labels.jsonl", [found async for found in documents.find(labels)]
        )
        return reference

    async def _reference(self, documents: Documents, key: ModelKey, folder: Path) -> _Reference:
        """The training data, else the first captured rows, frozen."""
        why = "the run has no training data that may be read"
        try:
            training = await self._training(key)
        except ModelDeploymentError as error:
            training, why = None, error.detail
        if training is not None:
            target = folder / f"training{training.path.suffix}"
            await asyncio.to_thread(shutil.copyfile, training.path, target)
            return _Reference("training", training.origin, training.target)
        frozen = Query(Collection.REFERENCES, *_pair(key))
        if not await documents.count(frozen):
            first, rows = [], 0
            async for capture in documents.find(Query(Collection.CAPTURES, *_pair(key))):
                first.append(capture)
                rows += capture["rows"]
                if rows >= _FROZEN:
                    break
            # Not before there are enough: a reference is for ever.
            if rows < _FROZEN:
                return _Reference(None, f"none: {why}, and fewer than {_FROZEN} rows are captured")
            await documents.insert(Collection.REFERENCES, first)
        return _Reference("captured", f"the first captured rows, frozen, since {why}")

    async def _job(
        self,
        key: ModelKey,
        since: datetime,
        until: datetime,
        reference: _Reference,
        before: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        try:
            baseline = await self._baseline(key)
        except ModelDeploymentError:
            baseline = {}
        serving = (await self._monitoring.serving(key, since, until))["total"]
        history = await self._monitoring.history(key, _HISTORY)
        return {
            "model": key.model,
            "version": key.version,
            "since": since.isoformat(),
            "until": until.isoformat(),
            "made_at": datetime.now(UTC).isoformat(),
            "signature": await self._signature(key),
            "reference_source": reference.source,
            "target": reference.target,
            "baseline": baseline,
            "history": history[::-1],
            "windows_worse_before": int(before["worse"]) if before else 0,
            "violations": serving["violations"],
            "requests": serving["requests"],
            "memory_bytes": _MEMORY,
            "cpu_seconds": _SECONDS,
        }

    async def _keep(
        self,
        documents: Documents,
        id: str,
        key: ModelKey,
        job: Mapping[str, Any],
        reference: _Reference,
        folder: Path,
    ) -> dict[str, Any]:
        report = orjson.loads(await asyncio.to_thread((folder / "report.json").read_bytes))
        made = {
            "_id": id,
            "model": key.model,
            "version": key.version,
            "ts": datetime.now(UTC),
            "verdict": report["verdict"],
            "since": job["since"],
            "until": job["until"],
            "reference": reference.description,
            "rows": report.get("rows", {}),
            "worse": (int(job["windows_worse_before"]) + 1) if report.get("worse") else 0,
            "report": report,
        }
        page = folder / "report.html.gz"
        if await asyncio.to_thread(page.exists):
            await documents.put_blob(id, await asyncio.to_thread(page.read_bytes))
        await documents.insert(Collection.REPORTS, [made])
        return made

    async def _last(self, documents: Documents, key: ModelKey) -> dict[str, Any] | None:
        query = Query(Collection.REPORTS, *_pair(key), newest_first=True, limit=1)
        return next(iter([found async for found in documents.find(query)]), None)


async def _newest(documents: Documents, query: Query) -> list[dict[str, Any]]:
    """The newest captures there is room for, oldest first."""
    query = Query(
        query.collection, query.model, query.version, query.since, query.until,
        newest_first=True, limit=_CAPTURES,
    )  # fmt: skip
    found, rows = [], 0
    async for capture in documents.find(query):
        found.append(capture)
        rows += max(1, capture["rows"])
        if rows >= _ROWS:
            break
    return found[::-1]


async def _run(folder: Path) -> None:
    """Have the report made.

    Raises:
        Unavailable: it left nothing behind.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "model_deployment.monitoring.report",
        str(folder),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(2 * _SECONDS):
            await child.wait()
    except TimeoutError:
        _log.error("a report took more than %s s, and was ended", 2 * _SECONDS)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if not await asyncio.to_thread((folder / "report.json").exists):
        raise Unavailable(
            f"cannot make the report: its process ended with status {child.returncode} and left nothing"
        )


def _write(path: Path, lines: list[Any]) -> None:
    with path.open("wb") as file:
        for line in lines:
            file.write(orjson.dumps(line, default=json.dumps) + b"\n")


def _pair(key: ModelKey) -> tuple[str, int]:
    return key.model, key.version
