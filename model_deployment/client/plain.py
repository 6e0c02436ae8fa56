"""Python's and NumPy's values as JSON has them."""

import base64
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from model_deployment.client.errors import Unsendable

#: Levels of lists and objects in each other; the controller reads no more.
_DEEPEST = 64


def plain(value: Any, where: str = "the input", depth: int = 0) -> Any:
    """A value of JSON: missing values as null, times as ISO 8601 in UTC without a zone, bytes in base64.

    Args:
        where: what messages call the value.

    Raises:
        Unsendable: there is no such value in JSON.
    """
    match value:
        case None | bool() | int() | str():
            # Also subclasses, such as members of an enumeration.
            return _text(value, where) if isinstance(value, str) else value
        case float():
            return _number(value, where)
        case Mapping() | list() | tuple() if depth >= _DEEPEST:
            raise Unsendable(f"cannot send {where}: it is nested deeper than {_DEEPEST} levels")
        case Mapping():
            return {_key(key, where): plain(one, where, depth + 1) for key, one in value.items()}
        case list() | tuple():
            return [plain(one, where, depth + 1) for one in value]
    return _other(value, where, depth)


def _other(value: Any, where: str, depth: int) -> Any:
    if hasattr(value, "tolist"):  # of NumPy, arrays and single values
        if getattr(getattr(value, "dtype", None), "kind", "") in "mM":
            return plain(_times(value), where, depth)
        return plain(value.tolist(), where, depth)
    match value:
        case _ if type(value).__name__ in ("NAType", "NaTType"):
            return None
        case datetime():
            # Without a zone a time is taken as it is, as the signature has none either.
            naive = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            return naive.isoformat()
        case date() | time():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode("ascii")
        case Decimal():
            return _number(float(value), where)
        case UUID():
            return str(value)
    raise Unsendable(
        f"cannot send {where}: JSON has no {type(value).__module__}.{type(value).__qualname__}"
    )


def _number(value: float, where: str) -> float | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise Unsendable(f"cannot send {where}: JSON has no infinite numbers, got {value}")
    return value


def _text(value: str, where: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unsendable(
                f"cannot send {where}: it contains half of a surrogate pair, which UTF-8 cannot encode"
            ) from None
    return value


def _key(key: Any, where: str) -> str:
    if isinstance(key, str):
        return _text(key, where)
    if isinstance(key, bool) or not isinstance(key, int):
        raise Unsendable(
            f"cannot send {where}: a name must be text, got {key!r} ({type(key).__name__})"
        )
    return str(key)


def _times(value: Any) -> Any:
    """Times of NumPy as text; None for those that are missing."""
    import numpy as np  # its value is given, so it is there

    if value.dtype.kind == "m":
        raise Unsendable("cannot send a duration: JSON has none; send a number of seconds")
    texts = np.datetime_as_string(value).tolist()
    return _without_nat(texts)


def _without_nat(texts: Any) -> Any:
    if isinstance(texts, list):
        return [_without_nat(text) for text in texts]
    return None if texts == "NaT" else texts
