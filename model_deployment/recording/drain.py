"""Carries captures from the spool to the document store: a program of its own.

Parsing a capture costs more than recording it, and a store may hang; neither may slow down predictions.

    python -m model_deployment.recording.drain  < one line of JSON

The drain goes on while there is no controller, until SIGTERM, and while its spool is there. A batch of
unknown fate is written again: the spool fixes the ids of documents, so a second write changes nothing. A
segment is deleted when all of it is in the store and its writer has ended it, or died.

Captures of requests that were erased meanwhile are left out.
"""

import asyncio
import base64
import logging
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model_deployment.documents.base import Collection, Documents, Query, StoreUnavailable
from model_deployment.documents.connect import connect
from model_deployment.log import lines
from model_deployment.recording.capture import document, envelope, redacted
from model_deployment.recording.drain_state import STATE_FILE, only_one, read_state, write_state
from model_deployment.recording.erasures import erased_ids
from model_deployment.recording.model_errors import error_document
from model_deployment.recording.shadow import shadow_document
from model_deployment.recording.spool import Record, age, extent, hold_ended, read, segments
from model_deployment.runtime.companions import read_config, until_terminated
from model_deployment.tabular.inputs_cache import InputsCache
from model_deployment.worker.niceness import yield_to_others

#: Not ``__name__``: in a program that is ``__main__``.
_log = logging.getLogger("model_deployment.recording.drain")

#: Records in one write, and bytes after which no record is added.
_BATCH = 500
_BATCH_BYTES = 4 * 1024 * 1024
#: Seconds between looks at a spool that was empty.
_PAUSE = 0.3
#: Seconds between tries while the store is away, growing.
_LONGEST_PAUSE = 5.0
#: Bytes of a refused record that are stored with the reason.
_SAMPLE = 4096
#: Added to its niceness: predictions come first.
_NICE = 10
#: Exit status of a drain that found another one at work.
OCCUPIED = 3


@dataclass(frozen=True, slots=True)
class DrainConfig:
    """The line of JSON from the controller."""

    spool: str
    #: As :func:`model_deployment.documents.connect.connect` takes it.
    documents: str
    #: Seconds after which captures that reached no store are dropped.
    max_age: float
    #: Bytes of body and answer that are stored of one request.
    max_capture_bytes: int
    #: Mixed into digests of values.
    salt: str
    #: As :func:`model_deployment.log.lines.configure` takes it.
    log_format: str = "auto"
    #: The folder with the artifacts of models; none if empty.
    models: str = ""


class Drain:
    def __init__(self, config: DrainConfig, documents: Documents) -> None:
        self._config = config
        self._root = Path(config.spool)
        self._documents = documents
        self._inputs = InputsCache(Path(config.models) if config.models else None)
        #: Continues the counts of an earlier drain.
        self.state = read_state(self._root)
        #: The segment that filled the last batch; the next batch begins behind it. Otherwise a busy writer
        #: would keep the drain from the segments of the others.
        self._last = ""

    async def run(self) -> None:
        """Carry captures until cancelled, or until the folder of the spool is deleted."""
        pause, opened = _PAUSE, False
        while self._root.exists():
            try:
                if not opened:
                    await self._documents.open()
                    opened = True
                more = await self.step()
                self._update(error="")
                pause = 0.0 if more else _PAUSE
            except StoreUnavailable as error:
                self._update(error=str(error) or "it does not answer")
                self.drop_expired()
                pause = min(_LONGEST_PAUSE, max(_PAUSE, pause * 2))
            except Exception as error:
                _log.exception("cannot drain the spool")
                self._update(error=repr(error))
                self.drop_expired()
                pause = _LONGEST_PAUSE
            await asyncio.sleep(pause)

    async def step(self) -> bool:
        """Write one batch; False if the spool is empty.

        Raises:
            StoreUnavailable: nothing is lost; the next call writes the same batch.
        """
        batch = _Batch()
        ends: dict[str, int] = {}
        for segment in self._segments():
            offset = self.state.offsets.get(segment.name, 0)
            if batch.fill(segment, offset):
                ends[segment.name] = batch.records[-1].end
                if batch.full:
                    self._last = segment.name
                    break
            else:
                self._finish(segment, offset)
        if not batch.records:
            return False
        changes = await self._write(batch.records)
        self._update(offsets={**self.state.offsets, **ends}, **changes)
        return True

    def _segments(self) -> list[Path]:
        """All segments, those behind the last one first."""
        return sorted(segments(self._root), key=lambda one: (one.name <= self._last, one.name))

    async def _write(self, records: list[Record]) -> dict[str, int]:
        """Write all records, or raise; the new counts of the state."""
        made = self._documents_of(records)
        erased = await erased_ids(self._documents, made.values())
        kept = {
            collection: [one for one in documents if one["_id"] not in erased]
            for collection, documents in made.items()
        }
        dead = kept[Collection.DEAD_LETTERS]
        lost = sum(record.damaged for record in records)
        by_id = {record.id: record for record in records}
        inserted = refused = 0
        for collection in (Collection.CAPTURES, Collection.SHADOWS, Collection.ERRORS):
            if kept[collection]:
                written = await self._documents.insert(collection, kept[collection])
                if collection is Collection.CAPTURES:
                    inserted = written.inserted
                dead += [_dead(by_id[id], reason) for id, reason in written.refused.items()]
        if dead:
            letters = await self._documents.insert(Collection.DEAD_LETTERS, dead)
            _log.warning("cannot store %s captures: %s", len(dead), dead[0]["reason"])
            refused = letters.inserted
            lost += len(letters.refused)
        # Also requests that were erased during this write: an erasure is stored before it deletes.
        if late := [*await erased_ids(self._documents, kept.values())]:
            for collection in kept:
                await self._documents.delete(Query(collection, ids=late))
        if lost:
            _log.error(
                "%s captures are lost: they were damaged, or refused even as dead letters", lost
            )
        return {
            "written": self.state.written + inserted,
            "dead": self.state.dead + refused,
            "lost": self.state.lost + lost,
        }

    def _documents_of(self, records: list[Record]) -> dict[Collection, list[dict[str, Any]]]:
        """Captures, shadows, errors, and dead letters of the records that cannot be parsed."""
        made: dict[Collection, list[dict[str, Any]]] = {
            Collection.CAPTURES: [],
            Collection.SHADOWS: [],
            Collection.ERRORS: [],
            Collection.DEAD_LETTERS: [],
        }
        limit, salt = self._config.max_capture_bytes, self._config.salt.encode()
        for record in records:
            if record.damaged:
                continue
            try:
                if error := error_document(record.id, record.payload):
                    made[Collection.ERRORS].append(error)
                elif shadow := shadow_document(record.id, record.payload, limit):
                    made[Collection.SHADOWS].append(shadow)
                else:
                    capture = document(record.id, record.payload, limit, salt, self._inputs)
                    made[Collection.CAPTURES].append(capture)
            except Exception as error:
                # Any failure would repeat with each try, and stop the drain.
                made[Collection.DEAD_LETTERS].append(_dead(record, repr(error)[:300]))
        return made

    def _finish(self, segment: Path, offset: int) -> None:
        """Delete a segment without more readable records, if it is ended."""
        with hold_ended(segment) as ended:
            # Its writer may have written to it before it ended.
            if not ended or next(read(segment, offset), None) is not None:
                return
            lost = 0
            if rest := max(0, extent(segment) - offset):
                lost = 1
                _log.error("%s bytes at the end of %s are damaged and lost", rest, segment.name)
            self._remove(segment, lost)

    def _remove(self, segment: Path, lost: int) -> None:
        segment.unlink(missing_ok=True)
        offsets = {name: end for name, end in self.state.offsets.items() if name != segment.name}
        self._update(lost=self.state.lost + lost, offsets=offsets)

    def drop_expired(self) -> None:
        """Delete segments that are too old, to make room for new captures."""
        for segment in segments(self._root):
            if age(segment) > self._config.max_age:
                with hold_ended(segment) as ended:
                    if ended:
                        self._drop(segment)

    def _drop(self, segment: Path) -> None:
        lost, end = 0, self.state.offsets.get(segment.name, 0)
        for record in read(segment, end):
            lost, end = lost + 1, record.end
        lost += extent(segment) > end
        self._remove(segment, lost)
        _log.log(
            logging.ERROR if lost else logging.INFO,
            "%s captures were dropped: the document store was unreachable for too long",
            lost,
        )

    def _update(self, **changes: Any) -> None:
        """Change the state, and write it to the file that the controller reads."""
        state = replace(self.state, **changes)
        if state == self.state:
            return
        if bool(state.error) != bool(self.state.error):
            level = logging.WARNING if state.error else logging.INFO
            _log.log(level, "document store: %s", state.error or "answers again")
        self.state = state
        try:
            write_state(self._root, state)
        except OSError as error:
            _log.error("cannot write %s: %s", STATE_FILE, error.strerror)


class _Batch:
    """Records of one write, perhaps of several segments."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._bytes = 0

    @property
    def full(self) -> bool:
        return len(self.records) >= _BATCH or self._bytes >= _BATCH_BYTES

    def fill(self, segment: Path, offset: int) -> bool:
        """Add records of a segment until the batch is full; False if there is none."""
        before = len(self.records)
        for record in read(segment, offset):
            self.records.append(record)
            self._bytes += len(record.payload)
            if self.full:
                break
        return len(self.records) > before


def _dead(record: Record, reason: str) -> dict[str, Any]:
    defaults = {"model": "", "version": 0, "ts": datetime.now(UTC)}
    return {
        "_id": record.id,
        **defaults,
        **envelope(record.payload),
        "reason": reason,
        "bytes": len(record.payload),
        "sample": base64.b64encode(redacted(record.payload)[:_SAMPLE]).decode(),
    }


async def _drain_until_terminated(config: DrainConfig) -> None:
    documents = connect(config.documents)
    drain = asyncio.create_task(Drain(config, documents).run())
    terminated = asyncio.create_task(until_terminated())
    await asyncio.wait({drain, terminated}, return_when=asyncio.FIRST_COMPLETED)
    for task in (drain, terminated):
        task.cancel()
    await asyncio.gather(drain, terminated, return_exceptions=True)
    await documents.close()


def main() -> int:
    """Drain until terminated; the exit status."""
    yield_to_others(_NICE)
    try:
        config = DrainConfig(**read_config())
    except EOFError:  # the controller ended before it had written the line
        return 0
    lines.configure("INFO", config.log_format)
    with only_one(Path(config.spool)) as alone:
        if not alone:
            _log.error("cannot drain %s: another process does; this one ends", config.spool)
            return OCCUPIED
        asyncio.run(_drain_until_terminated(config))
    return 0


if __name__ == "__main__":
    sys.exit(main())
