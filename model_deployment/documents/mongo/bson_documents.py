"""Documents as BSON, and queries as MongoDB's filters."""

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from bson import DBRef, Int64, encode
from bson.codec_options import CodecOptions, DatetimeConversion, TypeDecoder, TypeRegistry
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument

from model_deployment.documents.base import Document, DocumentRefused, Query
from model_deployment.documents.envelope import (
    MAX_BYTES,
    bound,
    document_name,
    examine,
    moment,
    writable,
)
from model_deployment.documents.mongo.errors import first_line

#: Bytes and documents of one insert.
_BATCH_BYTES, _BATCH = 8 * 2**20, 1000


class _Integers(TypeDecoder):
    """Integers of 64 bits come back as ``int``."""

    bson_type = Int64

    def transform_bson(self, value: Int64) -> int:
        return int(value)


class _References(TypeDecoder):
    """An object with the keys ``$ref`` and ``$id`` is an object like any other."""

    bson_type = DBRef

    def transform_bson(self, value: DBRef) -> dict[str, Any]:
        return dict(value.as_doc())


#: Times out of range and broken text, which others may have written, do not make a page unreadable.
OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True,
    tzinfo=UTC,
    datetime_conversion=DatetimeConversion.DATETIME_CLAMP,
    unicode_decode_error_handler="replace",
    type_registry=TypeRegistry([_Integers(), _References()]),
)

#: The ``_id`` of a document, and the document.
Encoded = tuple[str, RawBSONDocument]


def encode_document(document: Document) -> Encoded:
    """The BSON of a document, with its moment cut to milliseconds.

    Raises:
        DocumentRefused: it is not a valid document, or BSON cannot hold it.
    """
    envelope = examine(document)
    try:
        # ``_id`` first: a replacement must not begin with a key that begins with "$".
        content = {"_id": envelope.id, **document, "ts": moment(envelope.ts)}
        encoded = encode(content, codec_options=OPTIONS)
    except Exception as error:  # whatever it is, this document will not become BSON
        raise DocumentRefused(f"BSON cannot hold it: {first_line(error)}") from error
    if len(encoded) > MAX_BYTES:
        raise DocumentRefused(f"it has {len(encoded)} bytes, and MongoDB takes {MAX_BYTES}")
    return envelope.id, RawBSONDocument(encoded)


def encode_batch(documents: Iterator[Document], refused: dict[str, str]) -> list[Encoded]:
    """Take the documents of the next insert; empty at the end. Reasons of refusals go to ``refused``."""
    batch: list[Encoded] = []
    size = 0
    for document in documents:
        try:
            batch.append(encode_document(document))
        except DocumentRefused as error:
            refused[document_name(document)] = str(error)
            continue
        size += len(batch[-1][1].raw)
        if size >= _BATCH_BYTES or len(batch) >= _BATCH:
            break
    return batch


def filter_of(query: Query) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if query.model is not None:
        found["model"] = query.model if writable([query.model]) else {"$in": []}
    if query.version is not None:
        found["version"] = query.version
    if query.request_ids is not None:
        found["request_id"] = {"$in": writable(query.request_ids)}
    if query.ids is not None:
        found["_id"] = {"$in": writable(query.ids)}
    if query.since is not None:
        found.setdefault("ts", {})["$gte"] = DatetimeMS(bound(query.since))
    if query.until is not None:
        found.setdefault("ts", {})["$lt"] = DatetimeMS(bound(query.until))
    return found


def filter_after(query: Query, after: dict[str, Any] | None) -> dict[str, Any]:
    """The filter for documents that come after one in the order of the query."""
    if after is None:
        return filter_of(query)
    beyond = "$lt" if query.newest_first else "$gt"
    position = [
        {"ts": after["ts"], "_id": {beyond: after["_id"]}},
        {"ts": {beyond: after["ts"]}},
    ]
    return {"$and": [filter_of(query), {"$or": position}]}
