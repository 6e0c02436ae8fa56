"""What the controller knows of each run: one file for each, and all of them in memory.

A request of a run is a file before its caller gets an answer, and is handed to the engine with its id as
the idempotency key: a controller that is killed in between loses nothing, and starts nothing twice. What
the engine says of the run is written to the same file. So runs can be read while the engine is away, which
it is whenever nothing runs.
"""

import contextlib
import errno
import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from model_deployment.core.errors import DiskFull, Unavailable
from model_deployment.flows.base import FlowRun, FlowState, LogLine, TaskRun
from model_deployment.flows.parameters import ORIGINAL

_log = logging.getLogger(__name__)

#: Runs that have ended, and are remembered.
KEPT = 500
_ID = re.compile(r"[A-Za-z0-9-]{1,80}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Record:
    """A run that was asked for, and what has become of it."""

    #: Of the request; of the engine where others have started the run.
    id: str
    flow: str
    experiment: str
    #: When it was asked for.
    at: datetime
    #: As they are handed to the flow.
    parameters: Mapping[str, Any] = field(default_factory=dict)
    #: The user who asked; ``degraded``: a verdict; empty: there are no users.
    by: str = ""
    #: The record of the run that this one repeats.
    again: str = ""
    #: The run as the engine last had it; None: it was not handed over.
    run: FlowRun | None = None
    tasks: tuple[TaskRun, ...] = ()
    #: What the run has left under the key ``result``.
    result: Mapping[str, Any] | None = None
    #: What has become of it without the engine: cancelled before it was handed over, refused, or lost.
    settled: FlowState | None = None
    #: Why it is settled.
    reason: str = ""

    @property
    def state(self) -> FlowState:
        if self.settled is not None:
            return self.settled
        return FlowState.REQUESTED if self.run is None else self.run.state

    @property
    def message(self) -> str:
        """What is said of its state."""
        return self.reason or (self.run.message if self.run else "")

    @property
    def place(self) -> str:
        """Path of the run in the API."""
        return f"/api/flow-runs/{self.id}"

    @property
    def data_sha256(self) -> str | None:
        """The version of training data that it was given; None: the original data."""
        data = self.parameters.get("data")
        return data if isinstance(data, str) and data != ORIGINAL else None

    @property
    def repeated(self) -> dict[str, Any]:
        """The parameters of a run that repeats this one, besides the experiment."""
        given = {name: value for name, value in self.parameters.items() if name != "experiment"}
        if self.run is None or self.run.id != self.id:
            # Earlier releases wrote nothing for the original data.
            given.setdefault("data", ORIGINAL)
        return given

    @property
    def tags(self) -> tuple[str, ...]:
        """What the engine is given to know it by."""
        return (f"experiment:{self.experiment}", f"request:{self.id}", f"by:{self.by}")

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The engine's ids of the run and of the flows within it."""
        if self.run is None:
            return ()
        children = [one.child for one in self.tasks if one.child]
        return tuple(dict.fromkeys([self.run.id, *children]))


_RECORD = TypeAdapter(Record)
_LINES = TypeAdapter(list[LogLine])


class Records:
    """All records, newest first. Its methods that write files block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: dict[str, Record] = {}
        self._by_run: dict[str, str] = {}

    def open(self) -> None:
        """Read the folder; a file that cannot be read is left alone, and logged.

        Raises:
            OSError: there can be no such folder.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._folder.glob("*.new"):  # by a controller that was killed
            left.unlink(missing_ok=True)
        for path in sorted(self._folder.glob("*.json")):
            try:
                self._remember(_RECORD.validate_json(path.read_bytes()))
            except (OSError, ValidationError) as error:
                _log.error("cannot read the run in %s: %s", path, str(error).splitlines()[0])

    def all(self) -> list[Record]:
        """Newest first."""
        # A list first: threads add records meanwhile.
        return sorted([*self._all.values()], key=lambda one: (one.at, one.id), reverse=True)

    def unfinished(self) -> list[Record]:
        """Oldest first."""
        return [one for one in reversed(self.all()) if not one.state.final]

    def find(self, id: str) -> Record | None:
        """By its own id, or by the engine's."""
        return self._all.get(self._by_run.get(id, id))

    @staticmethod
    def can_name(id: str) -> bool:
        """Whether a record may have this id: it names files."""
        return _ID.fullmatch(id) is not None

    def write(self, record: Record, *, sync: bool = False) -> None:
        """Add or replace one.

        Args:
            sync: force it to the disk.

        Raises:
            DiskFull: nothing can be written.
        """
        path = self._folder / f"{record.id}.json"
        _write(path, _RECORD.dump_json(record, indent=1), sync=sync)
        self._remember(record)

    def write_log(self, record: Record, lines: Iterable[LogLine]) -> None:
        """Keep the log of a run that has ended.

        Raises:
            DiskFull: nothing can be written.
        """
        _write(self._folder / f"{record.id}.log", _LINES.dump_json(list(lines)), sync=False)

    def log(self, record: Record) -> list[LogLine] | None:
        """The kept log; None if there is none."""
        try:
            return _LINES.validate_json((self._folder / f"{record.id}.log").read_bytes())
        except (OSError, ValidationError):
            return None

    def forget_oldest(self) -> None:
        """Delete what ended long ago."""
        ended = [one for one in self.all() if one.state.final]
        for record in ended[KEPT:]:
            self._all.pop(record.id, None)
            if record.run is not None:
                self._by_run.pop(record.run.id, None)
            for ending in ("json", "log"):
                (self._folder / f"{record.id}.{ending}").unlink(missing_ok=True)

    def _remember(self, record: Record) -> None:
        self._all[record.id] = record
        if record.run is not None:
            self._by_run[record.run.id] = record.id


def _write(path: Path, content: bytes, *, sync: bool) -> None:
    draft = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
        if sync:
            _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise _explained(error) from error


def _explained(error: OSError) -> DiskFull | Unavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            "cannot save this run: the disk of the data directory is full. Nothing was started; free "
            "some space, then try again"
        )
    return Unavailable(f"cannot save this run in the data directory: {error.strerror}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
