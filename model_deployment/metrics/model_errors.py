"""The errors of models, for operators: predictions that failed, grouped by what failed."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from model_deployment.core.errors import ModelBroke
from model_deployment.core.names import ModelKey
from model_deployment.documents.base import Collection, Document, Query
from model_deployment.documents.owner_view import DocumentSource
from model_deployment.recording.model_errors import REQUEST_IDS

#: Documents that are read for one answer, the newest ones.
_MOST = 5000
#: Only the first document of a kind in a minute has the traceback; its minute may begin before the others.
_TRACEBACKS_BEFORE = timedelta(minutes=2)
#: Seconds that :meth:`ModelErrors.newest` may be old.
_FRESH = 5.0


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Failed predictions of one deployment with the same exception from the same place."""

    exception: str
    #: Of the newest one, on one line; empty if it must not be stored.
    message: str
    #: The message is not the model's, and repeats nothing that callers sent.
    ours: bool
    #: Of the answers.
    status: int
    count: int
    first_at: datetime
    last_at: datetime
    #: The newest ones, at most ten.
    request_ids: tuple[str, ...]
    launch_id: str | None
    traceback: str

    @property
    def line(self) -> str:
        """The last line of the exception."""
        return f"{self.exception}: {self.message}" if self.message else self.exception

    @property
    def public_line(self) -> str:
        """The same for callers: without the model's message, which may repeat what others sent."""
        return self.line if self.ours else self.exception

    @property
    def broke(self) -> bool:
        """Whether the process ended, or broke off the connection, while it was answering."""
        return self.ours and self.exception == ModelBroke.title


class ModelErrors:
    def __init__(self, store: DocumentSource) -> None:
        self._store = store
        self._newest: dict[ModelKey, ErrorGroup] = {}
        #: Of the monotonic clock; the window that was asked for.
        self._read_at, self._window = -_FRESH, timedelta()

    async def groups(
        self, key: ModelKey, since: datetime, until: datetime, limit: int
    ) -> list[ErrorGroup]:
        """The groups of a deployment with failures in a time, the one that failed last first.

        Raises:
            StoreUnavailable: the document store does not answer.
        """
        query = Query.of(
            Collection.ERRORS, key, since=since - _TRACEBACKS_BEFORE, until=until,
            newest_first=True, limit=_MOST,
        )  # fmt: skip
        return _grouped(await self._documents(query), since)[:limit]

    async def of_request(self, key: ModelKey, request_id: str) -> ErrorGroup | None:
        """The failure of one request, with the traceback of its kind; None if it is not known."""
        now = datetime.now(UTC)
        query = Query.of(
            Collection.ERRORS, key, since=now - timedelta(hours=1), newest_first=True, limit=_MOST
        )
        found = await self._documents(query)
        own = next((one for one in found if request_id in one["request_ids"]), None)
        if own is None:
            return None
        alike = [one for one in found if one["fingerprint"] == own["fingerprint"]]
        traceback = own["trace"] or next((one["trace"] for one in alike if one["trace"]), "")
        return replace(_group([own]), request_ids=(request_id,), traceback=traceback)

    async def newest(self, window: timedelta) -> dict[ModelKey, ErrorGroup]:
        """For each deployment with failures within this time before now: the newest kind of failure.

        ``first_at`` tells since when it fails like this, no earlier than the window's begin. The answer may
        be five seconds old.

        Raises:
            StoreUnavailable: the document store does not answer.
        """
        if time.monotonic() - self._read_at >= _FRESH or window != self._window:
            since = datetime.now(UTC) - window
            query = Query(Collection.ERRORS, since=since, newest_first=True, limit=_MOST)
            by_key: dict[ModelKey, list[Document]] = {}
            for one in await self._documents(query):
                key = ModelKey(one["model"], one["version"])
                by_key.setdefault(key, []).append(one)
            self._newest = {key: _grouped(found, since)[0] for key, found in by_key.items()}
            self._read_at, self._window = time.monotonic(), window
        return self._newest

    async def _documents(self, query: Query) -> list[Document]:
        documents = await self._store.opened()
        return [one async for one in documents.find(query)]


def _grouped(found: Iterable[Document], since: datetime) -> list[ErrorGroup]:
    """Groups of documents, which come newest first."""
    kinds: dict[str, list[Document]] = {}
    tracebacks: dict[str, str] = {}
    for one in found:
        kind = one["fingerprint"]
        if one["trace"]:
            tracebacks.setdefault(kind, one["trace"])
        if one["ts"] >= since:
            kinds.setdefault(kind, []).append(one)
    return [replace(_group(own), traceback=tracebacks.get(kind, "")) for kind, own in kinds.items()]


def _group(own: Sequence[Document]) -> ErrorGroup:
    """One group of documents of the same kind, the newest first."""
    newest = own[0]
    ids = [id for one in own for id in reversed(one["request_ids"])]
    return ErrorGroup(
        exception=newest["exception"],
        message=newest["message"],
        ours=newest["ours"],
        status=newest["status"],
        count=sum(one["count"] for one in own),
        first_at=min(datetime.fromisoformat(one["first_at"]) for one in own),
        last_at=newest["ts"],
        request_ids=tuple(ids[:REQUEST_IDS]),
        launch_id=newest["launch_id"],
        traceback=newest["trace"],
    )
