"""Writes the inputs of a report to files: captures, labels, the reference, and the job.

They are streamed from the store, since they may be large: the newest captures, up to limits of requests,
rows and bytes.
"""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.documents.base import CapturedOn, Collection, Documents, Query
from model_deployment.metrics.service import Monitoring
from model_deployment.recording.error_kinds import REFUSED
from model_deployment.recording.windows import TrafficWindow
from model_deployment.registry.training_data import TrainingData
from model_deployment.tabular.input_columns import ModelInputs

#: Limits of a report: captured requests, their rows, and their bytes.
_CAPTURES, _ROWS, _BYTES = 20_000, 50_000, 256 * 1024 * 1024
#: First captured rows that are kept as the reference.
FROZEN = 1000
#: Seconds and bytes that a report may take.
SECONDS, MEMORY = 300, 2 * 1024**3
_HISTORY = 100
_IDS = 1000
#: Windows that overlap by less than this follow each other.
_SLACK = timedelta(minutes=1)

#: The training data of a version; None if there are none.
FindTraining = Callable[[ModelKey], Awaitable[TrainingData | None]]
#: The inputs of a deployed model, by its signature.
FindInputs = Callable[[ModelKey], Awaitable[ModelInputs]]
#: The signature of a deployed model in MLflow's JSON form.
FindSignature = Callable[[ModelKey], Awaitable[Mapping[str, Any] | None]]
#: The options of a deployment; None if the version is not deployed.
FindOptions = Callable[[ModelKey], Awaitable[Options | None]]


@dataclass(frozen=True, slots=True)
class ReportWindow:
    """The deployment and the time that a report is about."""

    key: ModelKey
    since: datetime
    until: datetime
    #: Whose predictions it is about.
    source: CapturedOn = CapturedOn.SERVERS

    def query(self, collection: Collection, **more: Any) -> Query:
        """Documents of the deployment in this window."""
        return Query.of(collection, self.key, since=self.since, until=self.until, **more)

    def always(self, collection: Collection, **more: Any) -> Query:
        """Documents of the deployment of any time."""
        return Query.of(collection, self.key, **more)


@dataclass(frozen=True, slots=True)
class Reference:
    #: ``training``, ``captured``, or None.
    source: str | None
    #: In words, for people.
    description: str
    target: str | None = None
    #: In how many windows right before this one each metric was worse.
    worse_before: Mapping[str, int] = field(default_factory=dict)


class InputWriter:
    def __init__(
        self,
        monitoring: Monitoring,
        *,
        training: FindTraining,
        signature: FindSignature,
        options: FindOptions,
    ) -> None:
        self._monitoring = monitoring
        self._training = training
        self._signature = signature
        self._options = options

    async def write(self, documents: Documents, window: ReportWindow, folder: Path) -> Reference:
        """Write all inputs of the report of a window into a folder.

        Raises:
            StoreUnavailable: the inputs are incomplete.
        """
        reference, current = await self._reference(documents, window, folder)
        first = await _first_moment(documents, current)
        ids: dict[str, None] = {}
        await _stream(
            folder / "captures.jsonl",
            documents.find(replace(current, since=first).query(window.source.captures)),
            lambda capture: ids.setdefault(capture["request_id"]),
        )
        await _stream(folder / "labels.jsonl", _labels(documents, window, list(ids)))
        reference = replace(reference, worse_before=await _worse_before(documents, window))
        job = {"id": folder.name, **await self._job(documents, window, reference)}
        await asyncio.to_thread((folder / "job.json").write_bytes, _line(job))
        if as_of := self._monitoring.baseline_as_of(window.key):
            dated = f"{reference.description}; the baseline as of {as_of:%Y-%m-%d %H:%M}"
            reference = replace(reference, description=dated)
        return reference

    async def has_reference(self, documents: Documents, key: ModelKey) -> bool:
        """Whether there is something to compare with: training data, a baseline, or enough captured rows.

        Raises:
            StoreUnavailable: the document store does not answer.
        """
        with contextlib.suppress(ModelDeploymentError):
            if await self._training(key) is not None:
                return True
        if (await self._monitoring.baseline(key))[0]:
            return True
        now = datetime.now(UTC)
        return bool(await _frozen(documents, ReportWindow(key, now, now)))

    async def _reference(
        self, documents: Documents, window: ReportWindow, folder: Path
    ) -> tuple[Reference, ReportWindow]:
        """Write the reference: the training data, else the first captured rows.

        Returns the reference and the window of the captures to compare with it.
        """
        why = "the run has no readable training data"
        try:
            training = await self._training(window.key)
        except ModelDeploymentError as error:
            training, why = None, error.detail
        frozen = await _frozen(documents, window)
        if training is not None:
            target = folder / f"training{training.path.suffix}"
            await asyncio.to_thread(shutil.copyfile, training.path, target)
            if frozen and frozen[-1]["ts"] < window.since:
                # Training data have no predictions: the first ones in service are the reference.
                await _write(folder / "predictions.jsonl", frozen)
            return Reference("training", training.origin, training.target), window
        if not frozen:
            found = f"none: {why}, and fewer than {FROZEN} rows have been captured"
            return Reference(None, found), window
        await _write(folder / "reference.jsonl", frozen)
        after = max(window.since, frozen[-1]["ts"] + timedelta(milliseconds=1))
        reference = Reference("captured", f"the first captured rows, because {why}")
        return reference, replace(window, since=after)

    async def _job(
        self, documents: Documents, window: ReportWindow, reference: Reference
    ) -> dict[str, Any]:
        baseline, error = await self._monitoring.baseline(window.key)
        devices = window.source is CapturedOn.DEVICES
        if devices:
            # What is known of servers tells nothing of devices; and devices hide no columns.
            serving, history, options = await served_by_devices(documents, window), [], None
        else:
            found = await self._monitoring.serving(window.key, window.since, window.until)
            serving = found["total"]
            history = await self._monitoring.history(window.key, _HISTORY)
            options = await self._options(window.key)
        return {
            "source": str(window.source),
            "model": window.key.model,
            "version": window.key.version,
            "since": window.since.isoformat(),
            "until": window.until.isoformat(),
            "made_at": datetime.now(UTC).isoformat(),
            "signature": await self._signature(window.key),
            "excluded": list(options.capture_exclude) if options else [],
            "hashed": list(options.capture_hash) if options else [],
            "reference_source": reference.source,
            "target": reference.target,
            "baseline": baseline,
            "baseline_error": error,
            "first_set": await self._monitoring.first_set(window.key),
            "history": history[::-1],
            "worse_before": dict(reference.worse_before),
            "violations": serving["violations"],
            "requests": serving["requests"],
            "refused": {kind: n for kind, n in serving["errors"].items() if kind in REFUSED},
            "let_through": serving["let_through"],
            "memory_bytes": MEMORY,
            "cpu_seconds": SECONDS,
        }


async def served_by_devices(documents: Documents, window: ReportWindow) -> dict[str, Any]:
    """What devices predicted in a window, as :meth:`Monitoring.serving` has it of servers in total."""
    total = TrafficWindow()
    async for found in documents.find(window.query(Collection.DEVICE_TRAFFIC)):
        total.add(TrafficWindow.from_dict(found))
    return total.summary()


async def _first_moment(documents: Documents, window: ReportWindow) -> datetime:
    """The moment of the oldest capture that the limits of a report leave room for."""
    first, rows, size = window.until, 0, 0
    newest = window.query(window.source.captures, newest_first=True, limit=_CAPTURES)
    async for capture in documents.find(newest):
        rows += max(1, capture["rows"])
        size += len(_line(capture))
        if rows > _ROWS or size > _BYTES:
            break
        first = capture["ts"]
    return first


async def _frozen(documents: Documents, window: ReportWindow) -> list[dict[str, Any]]:
    """The first captured rows; once there are enough, they are stored and never change. Empty before.

    Those of servers and those of devices are two references.
    """
    devices = window.source is CapturedOn.DEVICES
    kept = [
        one
        async for one in documents.find(window.always(Collection.REFERENCES))
        if ("device" in one) is devices
    ]
    # With fewer rows, an earlier write was interrupted: the same rows are written again.
    if sum(one["rows"] for one in kept) >= FROZEN:
        return kept
    first, rows, size = [], 0, 0
    async for capture in documents.find(window.always(window.source.captures)):
        first.append(capture)
        rows += capture["rows"]
        size += len(_line(capture))
        if rows >= FROZEN or size > _BYTES // 8:
            break
    if rows < FROZEN:
        return []
    await documents.insert(Collection.REFERENCES, first)
    return first


async def _labels(
    documents: Documents, window: ReportWindow, ids: Sequence[str]
) -> AsyncIterator[dict[str, Any]]:
    for start in range(0, len(ids), _IDS):
        some = ids[start : start + _IDS]
        async for label in documents.find(window.always(Collection.LABELS, request_ids=some)):
            yield label


async def _worse_before(documents: Documents, window: ReportWindow) -> dict[str, int]:
    """In how many windows right before this one each metric was worse.

    A report of an overlapping window does not count: it judges the same requests.
    """
    earliest = window.since - (window.until - window.since) - _SLACK
    made = ReportWindow(window.key, earliest, window.since + _SLACK)
    query = made.query(Collection.REPORTS, newest_first=True, limit=20)
    async for report in documents.find(query):
        if source_of(report) is not window.source:
            continue
        if datetime.fromisoformat(report["until"]) <= window.since + _SLACK:
            return {name: int(count) for name, count in report.get("worse", {}).items()}
    return {}


def source_of(report: Mapping[str, Any]) -> CapturedOn:
    """Whose predictions a stored report is about; reports of earlier releases do not say."""
    return CapturedOn(report.get("source", CapturedOn.SERVERS))


async def _stream(
    path: Path,
    documents: AsyncIterator[dict[str, Any]],
    each: Callable[[dict[str, Any]], object] = lambda document: None,
) -> None:
    with path.open("wb") as file:
        async for document in documents:
            each(document)
            file.write(_line(document))


async def _write(path: Path, documents: Iterable[Mapping[str, Any]]) -> None:
    await asyncio.to_thread(path.write_bytes, b"".join(map(_line, documents)))


def _line(document: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(document) + b"\n"
    except TypeError:
        # Integers of more than 64 bits and lone surrogates: both can be captured.
        return json.dumps(document, default=str).encode("ascii") + b"\n"
