"""Reads JSON that every parser reads alike, and refuses all other.

If two parsers disagreed about a body, the model would get other data than was checked. So duplicate keys,
lone surrogates, infinities, numbers out of range and deep nesting are refused here. A bare NaN is not
JSON either, but MLflow, pandas and Python write it for a missing value, and MLflow reads it: here it is
read as null.
"""

import json
import re
from collections import Counter
from itertools import chain
from typing import Any

import orjson

from model_deployment.core.errors import ModelDeploymentError

#: Arrays and objects inside one another.
MAX_DEPTH = 64

_TOO_DEEP = f"cannot accept the body: it is nested deeper than {MAX_DEPTH} arrays and objects"
_NESTING = (dict, list)
#: Digits and minus become 0; quotes and dots, which precede the digits of a string or fraction, a dot.
_DIGITS = bytes(
    ord("0") if chr(byte) in "0123456789-" else ord(".") if chr(byte) in '".' else ord(" ")
    for byte in range(256)
)
#: An integer that may not fit 64 bits: orjson makes a float of it.
_LONG_INTEGER = b" " + b"0" * 20
#: What numbers are written with, but for the e of an exponent, and what separates them.
_OF_NUMBERS = b"0123456789.-+,"
#: White space between a key and its colon, which JSON allows.
_LOOSE_COLONS = (b" :", b"\n:", b"\r:", b"\t:")


#: The text before the next NaN outside of strings, and that NaN or the end of what can be read. It always
#: matches, so that no byte is read twice.
_UP_TO_NAN = re.compile(
    rb'((?:[^"N]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"|N(?!aN))*+)(NaN|["N]|\Z)', re.DOTALL
)


class MalformedJson(ModelDeploymentError):
    """The body is not JSON, or not JSON that all parsers read alike."""

    status = 400
    title = "Malformed JSON"


def skeleton(body: bytes) -> bytes:
    """A body without the characters of numbers. A search in it is fast: little is left of a tensor.

    It has all brackets, colons and words of the body; a text may become one more word.
    """
    return body.translate(None, _OF_NUMBERS)


def loads(body: bytes, bare: bytes | None = None) -> Any:
    """Parse a body to the values of :func:`json.loads`, but a bare NaN to None.

    Args:
        bare: its :func:`skeleton`, where that is at hand.

    Raises:
        MalformedJson: it is not UTF-8 JSON, has a key twice, a number out of range, or is nested
            deeper than :data:`MAX_DEPTH`.
    """
    try:
        value = orjson.loads(body)
    except ValueError as error:
        nulled = _without_nan(body)
        if nulled is not body and nulled.strip() != b"null":
            return loads(nulled)
        raise MalformedJson(f"cannot read the body as JSON: {error}") from None
    bare = skeleton(body) if bare is None else bare
    keys, depth = _measure(value, bare.count(b"{"), bare.count(b"["))
    if depth > MAX_DEPTH:
        raise MalformedJson(_TOO_DEEP)
    if _surely_unique(bare, keys) and not _has_long_integer(body) and type(value) is not float:
        return value
    return _exact(body)


def loads_nan(body: bytes) -> Any:
    """The values of a body that :func:`loads` accepts, with NaN where the body has a bare NaN."""
    return json.loads(body)


def has_nan(body: bytes) -> bool:
    """Whether a body that :func:`loads` accepts has a bare NaN."""
    return b"NaN" in body and _without_nan(body) is not body


def dumps_nan(value: Any) -> bytes:
    """Write a value as :func:`dumps` does, with NaN as MLflow reads it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def dumps(value: Any) -> bytes:
    """Write values of :func:`loads`, or what the gate made of them."""
    try:
        return orjson.dumps(value)
    except TypeError:
        # orjson writes no integers of more than 64 bits.
        return dumps_nan(value)


def _without_nan(body: bytes) -> bytes:
    """The body with null for each bare NaN; the same object if it has none."""
    if b"NaN" not in body:
        return body
    parts, end = [], 0
    while (found := _UP_TO_NAN.match(body, end)) and found[2] == b"NaN":
        parts.append(found[1])
        end = found.end()
    return b"null".join([*parts, body[end:]]) if parts else body


def _measure(value: Any, braces: int, brackets: int) -> tuple[int, int]:
    """The number of keys of the parsed objects, and the depth of nesting.

    Descends level by level, until all brackets of the text were seen. So the cells of a table are not read.
    """
    level = [value] if type(value) in _NESTING else []
    keys = depth = 0
    left = braces + brackets
    while level:
        depth += 1
        left -= len(level)
        objects = [one for one in level if type(one) is dict]
        keys += sum(map(len, objects))
        if not left or depth > MAX_DEPTH:
            break
        arrays = [one for one in level if type(one) is list] if len(objects) < len(level) else ()
        inner = chain(chain.from_iterable(map(dict.values, objects)), chain.from_iterable(arrays))
        level = [one for one in inner if type(one) in _NESTING]
    return keys, depth


def _surely_unique(bare: bytes, keys: int) -> bool:
    """Whether no object has a key twice: the text has no more keys than were parsed.

    Each key of the text has a colon, and so has its skeleton. Further colons are inside strings, so the
    count may be too high, which leads to an exact check, but never too low.
    """
    colons = bare.count(b":")
    if colons == keys:
        return True
    return bare.count(b'":') == keys and not any(loose in bare for loose in _LOOSE_COLONS)


def _has_long_integer(body: bytes) -> bool:
    # From the right, where CPython searches three times as fast for this needle.
    return body.translate(_DIGITS).rfind(_LONG_INTEGER) >= 0


def _exact(body: bytes) -> Any:
    """Parse slowly, with Python's own parser, which reports each key and has integers of any length."""
    try:
        return json.loads(body.decode(), object_pairs_hook=_object)
    except RecursionError:
        # Deep inside the first of two values with one key, where the depth was not measured.
        raise MalformedJson(_TOO_DEEP) from None
    except ValueError:
        # Python's own limit, 4300 digits; the syntax is known to be right.
        raise MalformedJson(
            "cannot read the body as JSON: it has an integer with too many digits"
        ) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise MalformedJson(f"cannot accept the body: the key {_shown(twice)} occurs twice")
    return members


def _shown(key: str) -> str:
    return ascii(key if len(key) <= 60 else key[:60] + "…")
