"""Predictions that failed: their records in the spool, and their documents in the store.

A deployment may fail thousands of times a second, with the same exception each time. So the first failures
of a kind have a record each, and later ones of the same minute are counted and written together. No count
is lost but those of a process that is killed: at most :data:`_TOGETHER` seconds of repeated failures.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from model_deployment.core.routes import Route
from model_deployment.log.lines import shorten
from model_deployment.log.masking import mask
from model_deployment.recording.capture import decode
from model_deployment.recording.tracebacks import one_line, pattern, raised, without_messages

#: The member of a record's head that makes it the record of an error.
ERROR = "error"
#: Request ids of one document, the newest ones.
REQUEST_IDS = 10
#: Characters of a traceback, which only the first record of a kind in a minute has.
_LONGEST_TRACEBACK = 8000
#: Failures of a kind that have a record of their own in a minute; seconds between two records later.
_AT_ONCE, _TOGETHER = 10, 10.0
_MINUTE = 60.0
#: Kinds of one deployment that are told apart in a minute; all others are one kind.
_KINDS = 50
_OTHER = "other errors"
#: The only exception whose message MLflow's server answers without a traceback.
_MLFLOWS = "MlflowException"


@dataclass(frozen=True, slots=True)
class Failure:
    """What became of a request that got a status of 500 or more."""

    request_id: str
    status: int
    #: The launch that was asked; None if there was none.
    launch_id: str | None
    #: What the caller was told.
    title: str
    detail: str
    #: The traceback, as the model's server answered it; empty without one.
    traceback: str = ""
    #: The message of the model's exception where there is no traceback.
    message: str = ""

    @property
    def ours(self) -> bool:
        """Whether the message is not the model's, so that it repeats no input."""
        return not (self.traceback or self.message)


@dataclass(slots=True)
class _Kind:
    """The failures of one kind in this minute."""

    minute: float
    written: int = 0
    #: One of its records has the traceback.
    traced: bool = False
    written_at: float = 0.0
    waiting: dict[str, Any] | None = None


@dataclass(slots=True)
class ErrorRecords:
    """Decides which failures have a record of their own, and makes the heads of records."""

    _kinds: dict[tuple[str, str], _Kind] = field(default_factory=dict)

    def note(self, route: Route, failure: Failure, now: float) -> dict[str, Any] | None:
        """Take note of a failure.

        Args:
            now: seconds since 1970.

        Returns:
            The head of a record that is to be written now; None if it is written later, by :meth:`due`.
        """
        name = str(route.key)
        exception, message, fingerprint = _kind_of(failure)
        if (name, fingerprint) not in self._kinds and self._kinds_of(name) >= _KINDS:
            exception = fingerprint = _OTHER
            message = ""
        kind = self._kinds.get((name, fingerprint))
        if kind is None or not 0 <= now - kind.minute < _MINUTE:
            waiting = kind.waiting if kind else None
            kind = self._kinds[name, fingerprint] = _Kind(now, waiting=waiting)
        if kind.waiting is None:
            hides = _hides(route)
            traceback = "" if kind.traced or exception == _OTHER else failure.traceback
            kind.traced = kind.traced or bool(traceback)
            kind.waiting = _head(route, failure, now) | {
                ERROR: {
                    "exception": exception,
                    "message": "" if hides and not failure.ours else mask(message),
                    "ours": failure.ours,
                    "fingerprint": fingerprint,
                    "status": failure.status,
                    "count": 0,
                    "first": now,
                    "request_ids": [],
                    "trace": _shown(traceback, hides),
                }
            }
        counted = kind.waiting[ERROR]
        counted["count"] += 1
        counted["last"] = now
        counted["request_ids"] = [*counted["request_ids"], failure.request_id][-REQUEST_IDS:]
        return self._write(kind, now) if kind.written < _AT_ONCE else None

    def due(self, now: float, *, everything: bool = False) -> list[dict[str, Any]]:
        """The heads of records that have waited long enough, or of all that wait."""
        made: list[dict[str, Any]] = []
        for place, kind in [*self._kinds.items()]:
            late = not 0 <= now - kind.written_at < _TOGETHER
            if kind.waiting is not None and (late or everything):
                made.append(self._write(kind, now))
            elif kind.waiting is None and not 0 <= now - kind.minute < _MINUTE:
                del self._kinds[place]
        return made

    def _write(self, kind: _Kind, now: float) -> dict[str, Any]:
        assert kind.waiting is not None  # noqa: S101 - the callers have made sure
        head, kind.waiting = kind.waiting, None
        kind.written += 1
        kind.written_at = now
        return head

    def _kinds_of(self, name: str) -> int:
        return sum(one == name for one, _ in self._kinds)


def error_document(id: str, payload: bytes) -> dict[str, Any] | None:
    """The document of a record; None if it is the record of something else.

    Raises:
        ValueError, LookupError, TypeError: the record is damaged for good.
    """
    head, _, _ = decode(payload)
    found = head.get(ERROR)
    if not isinstance(found, Mapping):
        return None
    names = ("exception", "message", "ours", "fingerprint", "status", "count", "trace")
    return {
        "_id": id,
        "model": str(head["model"]),
        "version": int(head["version"]),
        "ts": datetime.fromtimestamp(found["last"], UTC),
        # Of the request that message and traceback are from: they are erased with it.
        "request_id": head["request_id"],
        "launch_id": head["launch_id"],
        "first_at": datetime.fromtimestamp(found["first"], UTC).isoformat(timespec="milliseconds"),
        "request_ids": [str(one) for one in found["request_ids"]],
        **{name: found[name] for name in names},
    }


def _kind_of(failure: Failure) -> tuple[str, str, str]:
    """Exception and message of a failure, and the fingerprint of its kind."""
    found = raised(failure.traceback) if failure.traceback else None
    if found is not None:
        exception, message = found.exception, found.message
        marks = [exception, *found.frames] if found.frames else [exception, pattern(message)]
    else:
        exception = _MLFLOWS if failure.message else failure.title
        message = one_line(failure.message or failure.detail)
        marks = [exception, pattern(message)]
    digest = hashlib.blake2b("\n".join(marks).encode(errors="replace"), digest_size=8)
    return exception, message, digest.hexdigest()


def _hides(route: Route) -> bool:
    """Whether an exception may repeat values that must not be stored."""
    options = route.options
    stores_bodies = options.capture_rate and options.max_capture_bytes
    return bool(options.capture_exclude or options.capture_hash or not stores_bodies)


def _shown(traceback: str, hides: bool) -> str:
    """A traceback as it is stored."""
    text = traceback.encode(errors="replace").decode()
    return shorten(mask(without_messages(text) if hides else text), _LONGEST_TRACEBACK)


def _head(route: Route, failure: Failure, now: float) -> dict[str, Any]:
    return {
        "model": route.key.model,
        "version": route.key.version,
        "launch_id": failure.launch_id,
        "at": now,
        "request_id": failure.request_id,
    }
