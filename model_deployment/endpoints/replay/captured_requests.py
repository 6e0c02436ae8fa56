"""Captured requests of a version, as request bodies again.

Not every capture can be sent again: some have no inputs, some have columns left out or hashed. These are
counted by reason, and whoever uses the others says so.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from model_deployment.documents.base import Collection, Document, Documents, Query
from model_deployment.documents.streams import stream, stream_requests
from model_deployment.endpoints.labelled_answers import labels_of
from model_deployment.endpoints.replay.examined_version import ExaminedVersion
from model_deployment.gate import dumps
from model_deployment.recording.capture import LeftOut, left_out
from model_deployment.rendering.numbers import count

#: Captures that are looked at for each one that is wanted, and bytes of the bodies in memory.
_LOOKS, _MOST_BYTES = 4, 64 * 1024 * 1024
#: Share of the requests that tell most which have labels, if so many have.
_LABELLED_SHARE = 0.8
#: What :func:`model_deployment.recording.capture._digest` writes in place of a value.
_DIGEST = re.compile(r"[0-9a-f]{24}", re.ASCII)


class NotReplayable(StrEnum):
    """Why a captured request cannot be sent again."""

    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    PARAMS = "params"
    #: An agent acts: it sends, orders and pays, and nobody asked it to do so again.
    CHAT = "chat"
    HIDDEN = "hidden"
    EMPTY = "empty"
    #: The version that answered the request refuses what was captured of it.
    INCOMPLETE = "incomplete"


_WORDS: Mapping[NotReplayable, tuple[str, str]] = {
    NotReplayable.TOO_LARGE: (
        "were too large to be captured with their inputs",
        "raise max_capture_bytes",
    ),
    NotReplayable.UNREADABLE: (
        "are no tables of rows, so their inputs were not captured",
        "leave replay and signature out of the endpoint's checks, and use shadow",
    ),
    NotReplayable.CHAT: (
        "are chats, which an agent may act upon, so they are not sent twice",
        "leave replay and signature out of the endpoint's checks, and use a canary",
    ),
    NotReplayable.PARAMS: ("had params, which are not captured", "use shadow instead of replay"),
    NotReplayable.HIDDEN: (
        "were captured without the values of some columns",
        "take these columns out of capture_exclude and capture_hash, or use shadow instead of replay",
    ),
    NotReplayable.EMPTY: ("have no rows", "send requests with rows"),
    NotReplayable.INCOMPLETE: (
        "cannot be made again from what was captured of them",
        "use shadow instead of replay",
    ),
}


@dataclass(frozen=True, slots=True)
class CapturedRequest:
    """A request that can be sent again, and what was answered then."""

    #: ``X-Request-Id`` of the answer.
    id: str
    at: datetime
    body: dict[str, Any]
    rows: int
    predictions: Any
    latency_ms: float


@dataclass(slots=True)
class CapturedRequests:
    """Those that can be sent again, and how many cannot be."""

    requests: list[CapturedRequest] = field(default_factory=list)
    unusable: Counter[NotReplayable] = field(default_factory=Counter)
    #: Names of columns of which captures have no values.
    hidden: set[str] = field(default_factory=set)
    #: Ids of the captures that were looked at.
    seen: set[str] = field(default_factory=set)
    #: Bytes of the bodies.
    size: int = 0

    @property
    def captured(self) -> int:
        """The number of captures that were looked at."""
        return len(self.requests) + self.unusable.total()

    @property
    def left_out(self) -> str:
        """How many cannot be sent again, and why, in words; empty if all can be."""
        parts = [f"{number:,} {self._why(reason)}" for reason, number in self._by_number()]
        if not parts:
            return ""
        return (
            f"{self.unusable.total():,} of {count(self.captured, 'captured request')} cannot be sent "
            f"again: {'; '.join(parts)}"
        )

    @property
    def advice(self) -> str:
        """What helps, in words; empty if all can be sent again."""
        return "; ".join(dict.fromkeys(_WORDS[reason][1] for reason, _ in self._by_number()))

    def figures(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "captured": self.captured,
            "usable": len(self.requests),
            "unusable": {str(reason): number for reason, number in self._by_number()},
            "hidden_columns": sorted(self.hidden),
        }

    def _by_number(self) -> list[tuple[NotReplayable, int]]:
        return self.unusable.most_common()

    def _why(self, reason: NotReplayable) -> str:
        names = f" ({', '.join(sorted(self.hidden))})" if reason is NotReplayable.HIDDEN else ""
        return _WORDS[reason][0] + names


async def newest(documents: Documents, version: ExaminedVersion, most: int) -> CapturedRequests:
    """The newest captured requests of a version.

    Args:
        most: requests that are wanted. A few times as many captures are looked at.

    Raises:
        StoreUnavailable: unknown.
    """
    found = CapturedRequests()
    query = Query.of(Collection.CAPTURES, version.key, newest_first=True, limit=_LOOKS * most)
    await _take(stream(documents, query), version, most, found)
    return found


async def telling(documents: Documents, version: ExaminedVersion, most: int) -> CapturedRequests:
    """Those captured requests of a version that tell most of another one.

    Labels come late, so the newest requests may have none. Most requests are the newest ones with labels,
    and the others the newest ones.

    Args:
        most: requests that are wanted.

    Raises:
        StoreUnavailable: unknown.
    """
    found = CapturedRequests()
    ids = await _newest_labelled(documents, version, most)
    labelled = stream_requests(documents, Query.of(Collection.CAPTURES, version.key), ids)
    await _take(labelled, version, round(_LABELLED_SHARE * most), found)
    query = Query.of(Collection.CAPTURES, version.key, newest_first=True, limit=_LOOKS * most)
    await _take(stream(documents, query), version, most, found)
    return found


async def _newest_labelled(documents: Documents, version: ExaminedVersion, most: int) -> list[str]:
    """Ids of requests with labels, those that were labelled last first."""
    query = Query.of(Collection.LABELS, version.key, newest_first=True, limit=_LOOKS * most)
    ids: dict[str, None] = {}
    async with aclosing(stream(documents, query)) as labels:
        async for label in labels:
            ids[label["request_id"]] = None
            if len(ids) >= most:
                break
    return [*ids]


async def _take(
    captures: AsyncGenerator[Document, None],
    version: ExaminedVersion,
    most: int,
    found: CapturedRequests,
) -> None:
    """Add captures to those that were found, until there are enough."""
    async with aclosing(captures):
        async for capture in captures:
            if len(found.requests) >= most or found.size > _MOST_BYTES:
                break
            if capture["_id"] in found.seen:
                continue
            found.seen.add(capture["_id"])
            # On a thread: a large table takes tens of milliseconds.
            made = await asyncio.to_thread(_request, capture, version, found.hidden)
            if isinstance(made, NotReplayable):
                found.unusable[made] += 1
            else:
                found.size += await asyncio.to_thread(_size, made)
                found.requests.append(made)


async def labels(
    documents: Documents, version: ExaminedVersion, requests: Sequence[CapturedRequest]
) -> dict[str, dict[int, Any]]:
    """Labels of requests by id and row. Several requests with one id have none: it is not clear whose.

    Raises:
        StoreUnavailable: unknown.
    """
    times = Counter(one.id for one in requests)
    return await labels_of(
        documents, version.key, [id for id, number in times.items() if number == 1]
    )


def _size(request: CapturedRequest) -> int:
    return len(dumps(request.body))


def _request(
    capture: Document, version: ExaminedVersion, hidden: set[str]
) -> CapturedRequest | NotReplayable:
    match left_out(capture):
        case LeftOut.TOO_LARGE:
            return NotReplayable.TOO_LARGE
        case LeftOut.UNREADABLE:
            return NotReplayable.UNREADABLE
        case LeftOut.SECRET:
            hidden.update(version.options.capture_exclude, version.options.capture_hash)
            return NotReplayable.HIDDEN
    columns, rows = capture["columns"], capture["data"]
    if names := _hidden(capture, version):
        hidden |= names
        return NotReplayable.HIDDEN
    if capture.get("chat") or capture.get("params"):
        return NotReplayable.CHAT if capture.get("chat") else NotReplayable.PARAMS
    if not columns or not rows:
        return NotReplayable.EMPTY
    if not capture.get("typed"):
        columns, rows = version.inputs.retyped(columns, rows)
    for body in version.forms.bodies(columns, rows):
        result = version.gate.check(body)
        if not result.refused:
            return CapturedRequest(
                capture["request_id"], capture["ts"], body, len(rows),
                capture["predictions"], capture["latency_ms"],
            )  # fmt: skip
    return NotReplayable.INCOMPLETE


def _hidden(capture: Document, version: ExaminedVersion) -> set[str]:
    """The columns of the model of which the capture does not have the values.

    Captures of earlier releases do not say it, so the options of the deployment do, as far as the capture
    does not show that it is older than the options.
    """
    known = version.inputs.names
    if (told := capture.get("hidden")) is not None:
        return {name for name in told if not known or name in known}
    excluded = set(map(_normalised, version.options.capture_exclude))
    hashed = set(map(_normalised, version.options.capture_hash))
    captured = list(capture["columns"])
    missing = {
        name
        for name in (known or excluded)
        if not excluded.isdisjoint(_aliases(name)) and name not in captured
    }
    digests = {
        name
        for place, name in enumerate(captured)
        if not hashed.isdisjoint(_aliases(name))
        and (not known or name in known)
        and all(row[place] is None or _is_digest(row[place]) for row in capture["data"])
    }
    return missing | digests


def _is_digest(value: Any) -> bool:
    return type(value) is str and _DIGEST.fullmatch(value) is not None


def _aliases(name: str) -> set[str]:
    """The normalised names that an operator may use for a column; f0 is also called 0."""
    number = name.removeprefix("f")
    return {_normalised(name), *([number] if number.isdecimal() else [])}


def _normalised(name: str) -> str:
    return name.strip().casefold()
