"""Carries captures from the spool to the document store: a program of its own.

Taking captures apart costs more than noting them down, and a store may hang: neither is the business of
the process that answers predictions.

    python -m model_deployment.recording.drain  < one line of JSON, then an open pipe

It ends when its standard input does: with the controller, however that ends. A batch that may or may not
have been written is written again: the names of documents are fixed beforehand, so twice is once. A segment
is deleted when all of it is in the store, and never the newest one, which may grow.

Captures of requests that were erased meanwhile are left out.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from model_deployment.documents.base import Collection, Document, Documents, Query, StoreUnavailable
from model_deployment.documents.connect import connect
from model_deployment.log import lines
from model_deployment.recording.record import document, envelope, harmless
from model_deployment.recording.spool import Record, age, read, segments
from model_deployment.tabular.inputs_cache import InputsCache

#: Not by the name of the module: as a program, that is ``__main__``.
_log = logging.getLogger("model_deployment.recording.drain")

#: Records in one write, and the bytes after which it is closed.
_BATCH = 500
_BATCH_BYTES = 4 * 1024 * 1024
#: Seconds between looks at a spool that was empty.
_PAUSE = 0.3
#: Seconds between tries while the store is away, growing.
_LONGEST_PAUSE = 5.0
#: Bytes of a record that no store takes which are kept with the reason.
_SAMPLE = 4096
#: The file beside the segments in which the state is told.
STATE_FILE = "drain.json"
#: Predictions come first.
_NICE = 10


@dataclass(frozen=True, slots=True)
class DrainConfig:
    """What the controller tells it."""

    spool: str
    #: As :func:`model_deployment.documents.connect.connect` takes it.
    documents: str
    #: Seconds after which captures that found no store are thrown away.
    max_age: float
    #: Bytes of body and answer that are kept of one request.
    max_capture_bytes: int
    #: Mixed into digests of values.
    salt: str
    #: As :func:`model_deployment.log.lines.configure` takes it.
    log_format: str = "auto"
    #: Where the artifacts of models are; nowhere if empty.
    models: str = ""


@dataclass(frozen=True, slots=True)
class DrainState:
    """How it goes."""

    written: int = 0
    #: Captures that no store takes.
    dead: int = 0
    #: Captures that were too old, or damaged on the disk.
    lost: int = 0
    #: Why the store takes nothing; empty while it does.
    error: str = ""
    #: How far each segment has been written, by its name. Kept, so that the next one does not write again
    #: what was deleted from the store meanwhile.
    offsets: Mapping[str, int] = field(default_factory=dict)


class Drain:
    """Empties the spool."""

    def __init__(self, config: DrainConfig, documents: Documents) -> None:
        self._config = config
        self._root = Path(config.spool)
        self._documents = documents
        self._known = InputsCache(Path(config.models) if config.models else None)
        #: One that was killed has counted as well.
        self.state = read_state(self._root)

    async def run(self) -> None:
        """Drain until cancelled."""
        pause, opened = _PAUSE, False
        while True:
            try:
                if not opened:
                    await self._documents.open()
                    opened = True
                more = await self.step()
                self._note(error="")
                pause = 0.0 if more else _PAUSE
            except StoreUnavailable as error:
                self._note(error=str(error) or "it does not answer")
                self.drop_expired()
                pause = min(_LONGEST_PAUSE, max(_PAUSE, pause * 2))
            except Exception as error:
                _log.exception("cannot drain the spool")
                self._note(error=repr(error))
                self.drop_expired()
                pause = _LONGEST_PAUSE
            await asyncio.sleep(pause)

    async def step(self) -> bool:
        """Write one batch; whether there may be more.

        Raises:
            StoreUnavailable: nothing is lost, and the same batch comes again.
        """
        found = segments(self._root)
        for segment in found:
            offset = self.state.offsets.get(segment.name, 0)
            if records := _batch(segment, offset):
                changes = await self._write(records)
                offsets = {**self.state.offsets, segment.name: records[-1].end}
                self._note(offsets=offsets, **changes)
                return True
            if segment != found[-1]:
                self._finish(segment, offset)
        return False

    async def _write(self, records: list[Record]) -> dict[str, int]:
        """Write them all, or raise; what there is to count."""
        captures, dead = self._documents_of(records)
        erased = await self._erased([*captures, *dead])
        captures = [one for one in captures if one["_id"] not in erased]
        dead = [one for one in dead if one["_id"] not in erased]
        lost = sum(record.damaged for record in records)
        inserted = buried = 0
        if captures:
            written = await self._documents.insert(Collection.CAPTURES, captures)
            inserted = written.inserted
            by_id = {record.id: record for record in records}
            dead += [_dead(by_id[id], reason) for id, reason in written.refused.items()]
        if dead:
            letters = await self._documents.insert(Collection.DEAD_LETTERS, dead)
            _log.warning("%s captures cannot be kept: %s", len(dead), dead[0]["reason"])
            buried = letters.inserted
            lost += len(letters.refused)
        # Also what was erased while it was on its way: whoever erases notes that down before he deletes.
        if late := [*await self._erased([*captures, *dead])]:
            for collection in (Collection.CAPTURES, Collection.DEAD_LETTERS):
                await self._documents.delete(Query(collection, ids=late))
        if lost:
            _log.error("%s captures are lost: damaged, or refused even as dead letters", lost)
        return {
            "written": self.state.written + inserted,
            "dead": self.state.dead + buried,
            "lost": self.state.lost + lost,
        }

    def _documents_of(
        self, records: list[Record]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Captures, and dead letters of those that are none."""
        captures: list[dict[str, Any]] = []
        dead: list[dict[str, Any]] = []
        limit, salt = self._config.max_capture_bytes, self._config.salt.encode()
        for record in records:
            if record.damaged:
                continue
            try:
                captures.append(document(record.id, record.payload, limit, salt, self._known))
            except Exception as error:
                # Whatever it is, it must not come again and again.
                dead.append(_dead(record, repr(error)[:300]))
        return captures, dead

    async def _erased(self, documents: Iterable[Document]) -> set[str]:
        """Which of these are of requests that were erased later."""
        asked = {}
        for one in documents:
            if isinstance(request := one.get("request_id"), str):
                asked[one["_id"]] = (one["model"], one["version"], request), one["ts"]
        if not asked:
            return set()
        names = sorted({place[2] for place, _ in asked.values()})
        moments: dict[tuple[str, int, str], datetime] = {}
        async for found in self._documents.find(Query(Collection.ERASED, request_ids=names)):
            place = found["model"], found["version"], found["request_id"]
            moments[place] = max(found["ts"], moments.get(place, found["ts"]))
        # Stores cut off what is below a millisecond.
        return {
            id
            for id, (place, moment) in asked.items()
            if place in moments and moment < moments[place] + timedelta(milliseconds=1)
        }

    def _finish(self, segment: Path, offset: int) -> None:
        """Delete a segment of which nothing more can be read."""
        lost = 0
        # An earlier drain that is about to end may have been quicker.
        with contextlib.suppress(FileNotFoundError):
            if rest := max(0, segment.stat().st_size - offset):
                lost = 1
                _log.error("%s bytes at the end of %s are damaged, and lost", rest, segment.name)
        self._remove(segment, lost)

    def _remove(self, segment: Path, lost: int) -> None:
        segment.unlink(missing_ok=True)
        offsets = {name: end for name, end in self.state.offsets.items() if name != segment.name}
        self._note(lost=self.state.lost + lost, offsets=offsets)

    def drop_expired(self) -> None:
        """What found no store for days makes room for what is new."""
        found = segments(self._root)
        # All of a segment is older than the next one.
        for segment, following in itertools.pairwise(found):
            if age(following) > self._config.max_age:
                lost, end = 0, self.state.offsets.get(segment.name, 0)
                for record in read(segment, end):
                    lost, end = lost + 1, record.end
                with contextlib.suppress(FileNotFoundError):
                    lost += segment.stat().st_size > end
                self._remove(segment, lost)
                _log.log(
                    logging.ERROR if lost else logging.INFO,
                    "%s captures were thrown away: no store for too long",
                    lost,
                )

    def _note(self, **changes: Any) -> None:
        """Tell the controller, by a file that is replaced whole."""
        state = replace(self.state, **changes)
        if state == self.state:
            return
        if bool(state.error) != bool(self.state.error):
            _log.warning("document store: %s", state.error or "answers again")
        self.state = state
        # One that was told to end may still be at it.
        temporary = self._root / f"{STATE_FILE}.{os.getpid()}.tmp"
        try:
            temporary.write_text(json.dumps(asdict(state)), encoding="utf-8")
            temporary.rename(self._root / STATE_FILE)
        except OSError as error:
            _log.error("cannot tell how it goes: %s", error.strerror)


def read_state(spool: Path) -> DrainState:
    """What a drain has told last."""
    try:
        return DrainState(**json.loads((spool / STATE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return DrainState()


def _batch(segment: Path, offset: int) -> list[Record]:
    records, size = [], 0
    for record in read(segment, offset):
        records.append(record)
        size += len(record.payload)
        if len(records) >= _BATCH or size >= _BATCH_BYTES:
            break
    return records


def _dead(record: Record, reason: str) -> dict[str, Any]:
    nothing = {"model": "", "version": 0, "ts": datetime.now(UTC)}
    return {
        "_id": record.id,
        **nothing,
        **envelope(record.payload),
        "reason": reason,
        "bytes": len(record.payload),
        "sample": base64.b64encode(harmless(record.payload)[:_SAMPLE]).decode(),
    }


async def _until_the_pipe_ends(reader: asyncio.StreamReader) -> None:
    while await reader.read(1024):
        pass


async def _main() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    message = await reader.readline()
    if not message.endswith(b"\n"):
        return  # the controller ended before it had said what to do
    config = DrainConfig(**json.loads(message))
    lines.configure("INFO", config.log_format)
    documents = connect(config.documents)
    drain = asyncio.create_task(Drain(config, documents).run())
    await _until_the_pipe_ends(reader)
    drain.cancel()
    await asyncio.gather(drain, return_exceptions=True)
    await documents.close()


if __name__ == "__main__":
    os.nice(_NICE)
    asyncio.run(_main())
