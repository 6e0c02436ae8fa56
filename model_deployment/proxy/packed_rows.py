"""Writes merged tensors as bytes, for a worker that reads them (``worker/packed_tensors.py``)."""

import contextlib
import sys
from array import array
from collections.abc import Sequence
from dataclasses import replace

from model_deployment.gate import Mergeable, MergeableTensors
from model_deployment.worker import packed_tensors

#: By the type in the signature: the type that is sent, and the code of its array. NumPy makes a float16 of
#: the double that JSON has, so that is sent.
_CODES = {
    "bool": ("BOOL", "B"), "uint8": ("U8", "B"), "uint16": ("U16", "H"), "uint32": ("U32", "I"),
    "uint64": ("U64", "Q"), "int8": ("I8", "b"), "int16": ("I16", "h"), "int32": ("I32", "i"),
    "int64": ("I64", "q"), "float16": ("F64", "d"), "float32": ("F32", "f"), "float64": ("F64", "d"),
}  # fmt: skip

MEDIA_TYPE = packed_tensors.MEDIA_TYPE.encode()
HEADERS = b"content-type: %s\r\n" % MEDIA_TYPE


def may_be_packed(rows: Mergeable) -> bool:
    """Whether :func:`packed` may change them: the gate has not packed all of their values."""
    return isinstance(rows, MergeableTensors) and not all(
        isinstance(flat, array) for flat in rows.values
    )


def packed(rows: Mergeable) -> Mergeable:
    """The same rows, as bytes in place of Python's objects where their types can be.

    A float32 has the value that JSON would give the model, so nothing is lost for a call in JSON either.
    """
    if not isinstance(rows, MergeableTensors):
        return rows
    # Raised for text, for null in place of a missing value, and for what only Python can hold.
    with contextlib.suppress(KeyError, TypeError, OverflowError):
        values = tuple(
            flat if isinstance(flat, array) else array(_CODES[kind.dtype][1], flat)
            for kind, flat in zip(rows.kinds, rows.values, strict=True)
        )
        return replace(rows, values=values)
    return rows


def body_of(several: Sequence[Mergeable]) -> bytes | None:
    """The body for tensors of equal keys, their rows in order; None if any of them are not packed."""
    if sys.byteorder != "little":
        return None
    tensors = [one for one in several if isinstance(one, MergeableTensors)]
    if len(tensors) < len(several):
        return None
    written = {}
    total = sum(one.rows for one in tensors)
    for place, kind in enumerate(tensors[0].kinds):
        parts = [one.values[place] for one in tensors]
        if not all(isinstance(part, array) for part in parts):
            return None
        # Not by way of tobytes(): that would copy each part once more.
        content = b"".join(memoryview(part) for part in parts if isinstance(part, array))
        written[kind.name] = _CODES[kind.dtype][0], [total, *kind.shape], content
    return packed_tensors.write(written, tensors[0].params)
