"""Documents in MongoDB, and blobs in its GridFS. The only file that imports pymongo.

Every step has a time limit of its own, so that a server which takes connections and never answers costs
seconds. What is acknowledged is in the journal of a majority.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
from bson import DBRef, Int64, ObjectId, decode, decode_all, encode
from bson.codec_options import CodecOptions, DatetimeConversion, TypeDecoder, TypeRegistry
from bson.datetime_ms import DatetimeMS
from bson.errors import InvalidDocument
from bson.raw_bson import RawBSONDocument
from gridfs.asynchronous import AsyncGridFSBucket
from gridfs.errors import CorruptGridFile, GridFSError, NoFile
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    BulkWriteError,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)

from model_deployment.documents.base import (
    Collection,
    Document,
    Query,
    Refused,
    StoreUnavailable,
    Written,
)
from model_deployment.documents.envelope import MAX_BYTES, bound, examine, moment, name, writable
from model_deployment.documents.mongo_errors import explain, first_line

#: The database, where the URL names none.
DATABASE = "model_deployment"

#: Milliseconds until a server is found, and until a connection is made.
_FINDING = 2000

#: Bytes and documents of one insert, documents of one page, and of one step of deleting.
_STEP_BYTES, _STEP, _PAGE, _DELETION = 8 * 2**20, 1000, 200, 2000

#: Bytes of a blob that are read at once, and that GridFS collects before it writes.
_WINDOW = 16 * 2**20
_GRIDFS_BUFFER = 32 * 2**20

#: A blob is given this much more time, in bytes a second.
_SLOWEST = 4 * 2**20

#: What a crash left of a blob is removed once it is so old that nobody can be writing it any more.
_UNFINISHED = timedelta(days=1)

_DUPLICATE = 11000

#: Codes that tell of the server and not of a document: not primary, shutting down, no rights, no room,
#: out of time, out of memory, a write concern that is not met. Other codes are a document's fault.
_NOT_NOW = frozenset(
    {1, 6, 7, 8, 11, 13, 18, 20, 24, 26, 39, 43, 46, 50, 59, 63, 64, 79, 89, 91, 96, 100, 112, 133, 134}
    | {146, 149, 150, 189, 202, 225, 234, 237, 262, 290, 317, 358, 365, 384, 391, 402, 8000, 9001}
    | {10003, 10058, 10107, 11600, 11601, 11602, 13388, 13435, 13436, 14031}
)  # fmt: skip


class _Integers(TypeDecoder):
    """Integers of 64 bits come back as what they were."""

    bson_type = Int64

    def transform_bson(self, value: Int64) -> int:
        return int(value)


class _References(TypeDecoder):
    """An object with the keys ``$ref`` and ``$id`` is an object like any other."""

    bson_type = DBRef

    def transform_bson(self, value: DBRef) -> dict[str, Any]:
        return dict(value.as_doc())


#: What others may have written (times out of range, broken text) does not make a page unreadable.
_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True,
    tzinfo=UTC,
    datetime_conversion=DatetimeConversion.DATETIME_CLAMP,
    unicode_decode_error_handler="replace",
    type_registry=TypeRegistry([_Integers(), _References()]),
)

_Encoded = tuple[str, RawBSONDocument]


class MongoDocuments:
    """A document store in one database of a MongoDB server, 5.0 or newer."""

    def __init__(self, url: str, *, timeout: float = 5.0) -> None:
        """Connects with the first call.

        Args:
            url: ``mongodb://`` or ``mongodb+srv://``, with the database's name as its path.
            timeout: seconds for one step.

        Raises:
            ValueError: the URL is none.
        """
        self._timeout = timeout
        try:
            self._client: pymongo.AsyncMongoClient[dict[str, Any]] = pymongo.AsyncMongoClient(
                url,
                appname="model-deployment",
                w="majority",
                journal=True,
                retryWrites=True,
                # Asked again whenever somebody waits for it: a stream of news says nothing for ten
                # seconds after an error that changed nothing.
                serverMonitoringMode="poll",
                serverSelectionTimeoutMS=_FINDING,
                connectTimeoutMS=_FINDING,
                socketTimeoutMS=int(timeout * 1000),
            )
            self._database: AsyncDatabase[dict[str, Any]] = self._client.get_default_database(
                DATABASE, codec_options=_OPTIONS
            )
        except (PyMongoError, ValueError, TypeError) as error:
            # Without the text of the error: it may repeat the password.
            raise ValueError(
                f"cannot use the URL of MongoDB ({type(error).__name__}): it begins with mongodb:// or "
                "mongodb+srv://, and special characters of a password are percent-encoded"
            ) from None
        self._blobs = AsyncGridFSBucket(self._database)

    async def open(self) -> None:
        """Make indexes, and with them collections; remove what crashes left of blobs."""
        indexes = [
            pymongo.IndexModel([("model", 1), ("version", 1), ("ts", 1), ("_id", 1)]),
            pymongo.IndexModel([("ts", 1), ("_id", 1)]),
            pymongo.IndexModel([("request_id", 1)], sparse=True),
        ]
        for collection in Collection:
            async with self._step():
                await self._of(collection).create_indexes(indexes)
        await self._sweep()

    async def close(self) -> None:
        """Let go of connections."""
        with suppress(PyMongoError, OSError):
            async with asyncio.timeout(self._timeout):
                await self._client.close()

    async def ping(self) -> None:
        """Write something: a server without a primary, or without room, still answers a ping."""
        async with self._step():
            await self._database["ping"].replace_one(
                {"_id": "ping"}, {"ts": datetime.now(UTC)}, upsert=True
            )

    async def insert(self, collection: Collection, documents: Sequence[Document]) -> Written:
        """Write documents, some megabytes at a time."""
        refused: dict[str, str] = {}
        inserted = known = 0
        left = iter(documents)
        while batch := await asyncio.to_thread(_encode_some, left, refused):
            written = await self._insert(collection, batch)
            inserted += written.inserted
            known += written.known
            refused.update(written.refused)
        return Written(inserted, known, refused)

    async def _insert(self, collection: Collection, batch: Sequence[_Encoded]) -> Written:
        known, refused = 0, {}
        try:
            async with self._step():
                await self._raw(collection).insert_many([raw for _, raw in batch], ordered=False)
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors"):
                raise _unavailable(error) from error
            for failure in error.details["writeErrors"]:
                if _is_known(failure):
                    known += 1
                elif failure.get("code") in _NOT_NOW:
                    raise _unavailable(error) from error
                else:
                    refused[batch[failure["index"]][0]] = str(failure.get("errmsg"))
        except (OperationFailure, InvalidDocument) as error:
            # The command failed as a whole, for one of them: which one it is shows apart.
            if len(batch) == 1:
                return Written(refused={batch[0][0]: first_line(error)})
            middle = len(batch) // 2
            parts = [
                await self._insert(collection, part) for part in (batch[:middle], batch[middle:])
            ]
            return Written(
                sum(part.inserted for part in parts),
                sum(part.known for part in parts),
                {id: reason for part in parts for id, reason in part.refused.items()},
            )
        return Written(len(batch) - known - len(refused), known, refused)

    async def replace(self, collection: Collection, document: Document) -> None:
        """Write one in the place of whatever has its ``_id``."""
        id, raw = await asyncio.to_thread(_encode, document)
        try:
            async with self._step():
                try:
                    await self._raw(collection).replace_one({"_id": id}, raw, upsert=True)
                except DuplicateKeyError:  # somebody else made it meanwhile
                    await self._raw(collection).replace_one({"_id": id}, raw, upsert=True)
        except (OperationFailure, InvalidDocument) as error:
            raise Refused(first_line(error)) from error

    async def get(self, collection: Collection, id: str) -> dict[str, Any] | None:
        """One by its ``_id``."""
        if not writable([id]):
            return None
        async with self._reading():
            raw = await self._raw(collection).find_one({"_id": id})
        return None if raw is None else await asyncio.to_thread(decode, raw.raw, _OPTIONS)

    async def find(self, query: Query) -> AsyncIterator[dict[str, Any]]:
        """Page by page, each by a query of its own: a slow reader holds nothing on the server."""
        left = query.limit
        after: dict[str, Any] | None = None
        while left is None or left > 0:
            page = await self._page(query, after, min(_PAGE, _PAGE if left is None else left))
            if not page:
                return
            for document in page:
                yield document
            after = page[-1]
            left = None if left is None else left - len(page)

    async def _page(
        self, query: Query, after: dict[str, Any] | None, size: int
    ) -> list[dict[str, Any]]:
        """What follows a document; fewer than there are if they are large."""
        restriction, order = _filter(query), -1 if query.newest_first else 1
        if after is not None:
            further = "$lt" if query.newest_first else "$gt"
            restriction = {
                "$and": [
                    restriction,
                    {
                        "$or": [
                            {"ts": after["ts"], "_id": {further: after["_id"]}},
                            {"ts": {further: after["ts"]}},
                        ]
                    },
                ]
            }
        async with self._reading():
            cursor = self._of(query.collection).find_raw_batches(
                restriction,
                sort=[("ts", order), ("_id", order)],
                limit=-size,  # one batch, and no cursor is left open
            )
            async with cursor:
                batch: bytes = await anext(cursor, b"")  # type: ignore[arg-type]
        return await asyncio.to_thread(lambda: decode_all(batch, _OPTIONS))

    async def count(self, query: Query) -> int:
        """How many there are."""
        async with self._reading():
            return await self._of(query.collection).count_documents(_filter(query))

    async def delete(self, query: Query) -> int:
        """Delete them, in steps that take a moment each."""
        collection, restriction = self._of(query.collection), _filter(query)
        deleted = 0
        while True:
            async with self._reading():
                found = await collection.find(restriction, {"_id": 1}, limit=_DELETION).to_list()
                if not found:
                    return deleted
                ids = {"_id": {"$in": [document["_id"] for document in found]}}
                result = await collection.delete_many({"$and": [restriction, ids]})
            deleted += result.deleted_count

    async def put_blob(self, id: str, content: bytes) -> None:
        """Write a new revision, and remove the others once it is whole."""
        if not writable([id]):
            raise Refused("its name is no text")
        files = self._database["fs.files"]
        async with self._reading():
            before = [file["_id"] async for file in files.find({"filename": id}, {"_id": 1})]
            stream = self._blobs.open_upload_stream(id)
        try:
            for part in _windows(len(content)):
                async with self._reading(more=_GRIDFS_BUFFER if part.start else part.stop):
                    await stream.write(content[part])
            async with self._reading(more=min(len(content), _GRIDFS_BUFFER)):
                await stream.close()
        except BaseException:
            with suppress(StoreUnavailable):
                async with self._reading():
                    await stream.abort()
            raise
        older = {"uploadDate": {"$lt": stream.upload_date}}
        await self._forget({"filename": id, "$or": [{"_id": {"$in": before}}, older]})

    async def get_blob(self, id: str) -> bytes | None:
        """The newest revision; from the beginning again, if it is replaced meanwhile."""
        if not writable([id]):
            return None
        for _ in range(3):
            parts: list[bytes] = []
            try:
                async with self._reading():
                    file = await self._blobs.open_download_stream_by_name(id)
                    length, revision = file.length, file._id
                for part in _windows(length):
                    async with self._reading(more=part.stop - part.start):
                        stream = await self._blobs.open_download_stream(revision)
                        await stream.seek(part.start)
                        parts.append(await stream.read(part.stop - part.start))
                        await stream.close()
            except NoFile:
                if not parts and not await self._has_blob(id):
                    return None
            except CorruptGridFile:
                continue
            else:
                return b"".join(parts)
        raise StoreUnavailable(f"cannot read the blob {id}: parts of it are missing")

    async def _has_blob(self, id: str) -> bool:
        async with self._reading():
            return await self._database["fs.files"].find_one({"filename": id}) is not None

    async def delete_blob(self, id: str) -> None:
        """Remove all its revisions."""
        if writable([id]):
            await self._forget({"filename": id})

    async def _forget(self, files: dict[str, Any]) -> None:
        async with self._reading():
            found = await self._database["fs.files"].find(files, {"_id": 1}).to_list()
        for file in found:
            async with self._reading(more=_WINDOW):
                with suppress(NoFile):  # somebody else removes it too
                    await self._blobs.delete(file["_id"])

    async def _sweep(self) -> None:
        """Remove chunks without a file, which a crash in the middle of a blob leaves."""
        chunks = self._database["fs.chunks"]
        async with self._reading():
            held = await self._database["fs.files"].distinct("_id")
            found = set(await chunks.distinct("files_id")) - set(held)
        old = datetime.now(UTC) - _UNFINISHED
        for id in found:
            if isinstance(id, ObjectId) and id.generation_time < old:
                async with self._reading(more=_WINDOW):
                    await chunks.delete_many({"files_id": id})

    def _of(self, collection: Collection) -> AsyncCollection[dict[str, Any]]:
        return self._database[collection.value]

    def _raw(self, collection: Collection) -> AsyncCollection[RawBSONDocument]:
        """The collection with documents as bytes, which are read and written on a thread."""
        return self._of(collection).with_options(CodecOptions(document_class=RawBSONDocument))

    @asynccontextmanager
    async def _step(self, more: int = 0) -> AsyncIterator[None]:
        """Give what is done within its time; refusals of what was sent are let through.

        Args:
            more: bytes that go over the line.
        """
        limit = self._timeout + more / _SLOWEST
        try:
            # The driver keeps to its limit by itself; the other is for what it does not look after.
            async with asyncio.timeout(limit + 1):
                await self._find_server()
                with pymongo.timeout(limit):
                    yield
        except GridFSError:
            raise
        except (PyMongoError, OSError) as error:
            if isinstance(error, OperationFailure) and not _is_of_the_server(error):
                raise
            raise _unavailable(error) from error

    async def _find_server(self) -> None:
        """Without this the driver looks for one as long as the step may take."""
        if not self._client.topology_description.has_writable_server():
            with pymongo.timeout(_FINDING / 1000):
                await self._client.admin.command("ping")

    @asynccontextmanager
    async def _reading(self, more: int = 0) -> AsyncIterator[None]:
        """A step without a document that could be refused: whatever fails is the server."""
        try:
            async with self._step(more):
                yield
        except GridFSError:
            raise
        except PyMongoError as error:
            raise _unavailable(error) from error


def _encode(document: Document) -> _Encoded:
    """As bytes, with the moment cut to milliseconds.

    Raises:
        Refused: it is no document, or BSON cannot hold it.
    """
    envelope = examine(document)
    try:
        # ``_id`` first: a replacement must not begin with a key that begins with "$".
        content = {"_id": envelope.id, **document, "ts": moment(envelope.ts)}
        encoded = encode(content, codec_options=_OPTIONS)
    except Exception as error:  # whatever it is, this document will not become BSON
        raise Refused(f"BSON cannot hold it: {first_line(error)}") from error
    if len(encoded) > MAX_BYTES:
        raise Refused(f"it has {len(encoded)} bytes, and MongoDB takes {MAX_BYTES}")
    return envelope.id, RawBSONDocument(encoded)


def _encode_some(documents: Iterator[Document], refused: dict[str, str]) -> list[_Encoded]:
    """Those of the next step. Empty at the end."""
    batch: list[_Encoded] = []
    size = 0
    for document in documents:
        try:
            batch.append(_encode(document))
        except Refused as error:
            refused[name(document)] = str(error)
            continue
        size += len(batch[-1][1].raw)
        if size >= _STEP_BYTES or len(batch) >= _STEP:
            break
    return batch


def _filter(query: Query) -> dict[str, Any]:
    restriction: dict[str, Any] = {}
    if query.model is not None:
        restriction["model"] = query.model if writable([query.model]) else {"$in": []}
    if query.version is not None:
        restriction["version"] = query.version
    if query.request_ids is not None:
        restriction["request_id"] = {"$in": writable(query.request_ids)}
    if query.ids is not None:
        restriction["_id"] = {"$in": writable(query.ids)}
    if query.since is not None:
        restriction.setdefault("ts", {})["$gte"] = DatetimeMS(bound(query.since))
    if query.until is not None:
        restriction.setdefault("ts", {})["$lt"] = DatetimeMS(bound(query.until))
    return restriction


def _windows(length: int) -> Iterator[slice]:
    for start in range(0, length, _WINDOW):
        yield slice(start, min(start + _WINDOW, length))


def _is_known(failure: dict[str, Any]) -> bool:
    """Whether it is there already, rather than in the way of an index that somebody added."""
    return failure.get("code") == _DUPLICATE and failure.get("keyPattern", {"_id": 1}) == {"_id": 1}


def _is_of_the_server(error: OperationFailure) -> bool:
    if isinstance(error, BulkWriteError | DuplicateKeyError):
        return False
    if isinstance(error, WriteConcernError) or error.timeout:
        return True
    return error.code is None or error.code in _NOT_NOW


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(explain(error))
