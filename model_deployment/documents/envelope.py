"""What every store requires of documents and report pages, and moments as stores keep them."""

from collections.abc import Collection as Items
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from model_deployment.documents.base import Document, DocumentRefused

#: Levels of objects and lists, the document included. MongoDB guarantees as many.
MAX_DEPTH = 100

#: Bytes of one stored document: the limit of MongoDB.
MAX_BYTES = 16 * 1024 * 1024

#: Bytes of one blob, which MongoDB keeps in a document.
MAX_BLOB = MAX_BYTES - 64 * 1024

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SCALARS = (str, int, float, type(None))
_PLAIN = frozenset({str, int, float, bool, type(None)})


@dataclass(frozen=True, slots=True)
class Envelope:
    """The members of a document that stores know by name."""

    id: str
    model: str
    version: int
    #: Milliseconds since 1970.
    ts: int
    request_id: str | None


def document_name(document: Document) -> str:
    """The name of a document in :attr:`Written.refused`, even if its ``_id`` is not text."""
    id = document.get("_id")
    return id if isinstance(id, str) else repr(id)


def examine(document: Document) -> Envelope:
    """Check a document and return its envelope.

    Raises:
        DocumentRefused: a member of the envelope is missing, or a value is not a value of JSON.
    """
    version, moment = document.get("version"), document.get("ts")
    if not isinstance(version, int) or isinstance(version, bool) or version.bit_length() > 63:
        raise DocumentRefused("its version is not an integer of 64 bits")
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise DocumentRefused("its ts is not a datetime with a time zone")
    request_id = document.get("request_id")
    if request_id is not None:
        request_id = _text(document, "request_id")
    envelope = Envelope(
        _text(document, "_id"), _text(document, "model"), version, millis(moment), request_id
    )
    _check({key: value for key, value in document.items() if key != "ts"}, 1)
    return envelope


def check_blob(id: str, content: bytes) -> None:
    """
    Raises:
        DocumentRefused: the id is not text, or the content is larger than a document may be.
    """
    if not _encodes(id):
        raise DocumentRefused("its id is not text")
    if len(content) > MAX_BLOB:
        raise DocumentRefused(f"it has {len(content)} bytes; at most {MAX_BLOB} are accepted")


def millis(moment: datetime) -> int:
    """Whole milliseconds since 1970."""
    return (moment - _EPOCH) // _MILLISECOND


def bound(moment: datetime) -> int:
    """The first millisecond that is not before this moment: stored moments are whole milliseconds."""
    return -((_EPOCH - moment) // _MILLISECOND)


def moment(ts: int) -> datetime:
    return _EPOCH + ts * _MILLISECOND


def writable(texts: Iterable[str]) -> list[str]:
    """The texts that a store could hold: half a surrogate pair has no encoding."""
    return [text for text in texts if _encodes(text)]


def _text(document: Document, key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not _encodes(value):
        raise DocumentRefused(f"its {key} is not text")
    return value


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check(value: dict[Any, Any] | list[Any] | tuple[Any, ...], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise DocumentRefused(f"it is nested deeper than {MAX_DEPTH} levels")
    items: Items[Any] = value
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise DocumentRefused("a key is not text")
        items = value.values()
    if _PLAIN.issuperset(map(type, items)):
        return
    for item in items:
        if isinstance(item, dict | list | tuple):
            _check(item, depth + 1)
        elif not isinstance(item, _SCALARS):
            raise DocumentRefused(f"{type(item).__name__} is not a value of JSON")
