"""What every store asks of a document, and moments the way that stores keep them."""

from collections.abc import Collection as Items
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from model_deployment.documents.base import Document, Refused

#: Objects and lists within each other, the document itself included. MongoDB promises as many.
MAX_DEPTH = 100

#: Bytes of one document, as a store writes it. MongoDB takes no more.
MAX_BYTES = 16 * 1024 * 1024

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SCALARS = (str, int, float, type(None))
_PLAIN = frozenset({str, int, float, bool, type(None)})


@dataclass(frozen=True, slots=True)
class Envelope:
    """The members that stores know by name."""

    id: str
    model: str
    version: int
    #: Milliseconds since 1970.
    ts: int
    request_id: str | None


def name(document: Document) -> str:
    """What a document is called in :attr:`Written.refused`, also if its ``_id`` is none."""
    id = document.get("_id")
    return id if isinstance(id, str) else repr(id)


def examine(document: Document) -> Envelope:
    """Make sure that a document is one.

    Raises:
        Refused: a member of the envelope is missing, or a value is not one of JSON's.
    """
    version, moment = document.get("version"), document.get("ts")
    if not isinstance(version, int) or isinstance(version, bool) or version.bit_length() > 63:
        raise Refused("its version is no integer")
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise Refused("its ts is no datetime with a time zone")
    request_id = document.get("request_id")
    if request_id is not None:
        request_id = _text(document, "request_id")
    envelope = Envelope(
        _text(document, "_id"), _text(document, "model"), version, millis(moment), request_id
    )
    _check({key: value for key, value in document.items() if key != "ts"}, 1)
    return envelope


def millis(moment: datetime) -> int:
    """Milliseconds since 1970, what is below them cut off."""
    return (moment - _EPOCH) // _MILLISECOND


def bound(moment: datetime) -> int:
    """The first millisecond that is not before this moment: what is kept has nothing below them."""
    return -((_EPOCH - moment) // _MILLISECOND)


def moment(ts: int) -> datetime:
    """The moment of so many milliseconds since 1970."""
    return _EPOCH + ts * _MILLISECOND


def writable(texts: Iterable[str]) -> list[str]:
    """Those that a store could hold; half a surrogate pair is found nowhere."""
    return [text for text in texts if _encodes(text)]


def _text(document: Document, key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not _encodes(value):
        raise Refused(f"its {key} is no text")
    return value


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check(value: dict[Any, Any] | list[Any] | tuple[Any, ...], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Refused(f"it is nested deeper than {MAX_DEPTH} levels")
    items: Items[Any] = value
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise Refused("a key is no text")
        items = value.values()
    if _PLAIN.issuperset(map(type, items)):
        return
    for item in items:
        if isinstance(item, dict | list | tuple):
            _check(item, depth + 1)
        elif not isinstance(item, _SCALARS):
            raise Refused(f"{type(item).__name__} is no value of JSON")
