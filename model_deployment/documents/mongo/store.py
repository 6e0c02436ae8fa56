"""Documents and report pages in MongoDB.

Every step has a time limit of its own, so that a server that accepts connections and never answers costs
seconds. A write is acknowledged once it is in the journal of a majority.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pymongo
from bson import decode, decode_all
from bson.codec_options import CodecOptions
from bson.errors import InvalidDocument
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError

from model_deployment.documents.base import (
    Collection,
    Document,
    DocumentRefused,
    Query,
    StoreUnavailable,
    Written,
)
from model_deployment.documents.envelope import check_blob, writable
from model_deployment.documents.mongo.bson_documents import (
    OPTIONS,
    Encoded,
    encode_batch,
    encode_document,
    filter_after,
    filter_of,
)
from model_deployment.documents.mongo.codes import SERVER, concerns_server, is_known
from model_deployment.documents.mongo.errors import explain, first_line

#: The database, if the URL names none.
DATABASE = "model_deployment"

#: Milliseconds to find a server, and to connect.
_FINDING = 2000

#: Documents of one page, and of one step of deleting.
_PAGE, _DELETION = 200, 2000


class MongoDocuments:
    """A document store in one database of a MongoDB server, 5.0 or newer."""

    def __init__(self, url: str, *, timeout: float = 5.0) -> None:
        """Connects with the first call.

        Args:
            url: ``mongodb://`` or ``mongodb+srv://``, with the database's name as its path.
            timeout: seconds for one step.

        Raises:
            ValueError: the URL cannot be used.
        """
        self._timeout = timeout
        try:
            self._client: pymongo.AsyncMongoClient[dict[str, Any]] = pymongo.AsyncMongoClient(
                url,
                appname="model-deployment",
                w="majority",
                journal=True,
                retryWrites=True,
                # Polled while a caller waits: the streaming mode is silent for ten seconds after an
                # error that changed nothing.
                serverMonitoringMode="poll",
                serverSelectionTimeoutMS=_FINDING,
                connectTimeoutMS=_FINDING,
                socketTimeoutMS=int(timeout * 1000),
            )
            self._database: AsyncDatabase[dict[str, Any]] = self._client.get_default_database(
                DATABASE, codec_options=OPTIONS
            )
        except (PyMongoError, ValueError, TypeError) as error:
            # Without the text of the error: it may repeat the password.
            raise ValueError(
                f"cannot use the URL of MongoDB ({type(error).__name__}): begin with mongodb:// or "
                "mongodb+srv://, and percent-encode special characters of the password"
            ) from None
        self._pages = self._database["report_pages"]
        self._gridfs_files = self._database["fs.files"]
        self._gridfs_chunks = self._database["fs.chunks"]

    async def open(self) -> None:
        """Create indexes, and collections with them."""
        indexes = [
            pymongo.IndexModel([("model", 1), ("version", 1), ("ts", 1), ("_id", 1)]),
            pymongo.IndexModel([("ts", 1), ("_id", 1)]),
            pymongo.IndexModel([("request_id", 1)], sparse=True),
        ]
        for collection in Collection:
            async with self._step():
                await self._of(collection).create_indexes(indexes)

    async def close(self) -> None:
        # First it tells the server, which may hang; the second time it only frees what it has here.
        for _ in range(2):
            with suppress(PyMongoError, OSError):
                async with asyncio.timeout(self._timeout):
                    await self._client.close()
                    return

    async def insert(self, collection: Collection, documents: Sequence[Document]) -> Written:
        refused: dict[str, str] = {}
        inserted = known = 0
        left = iter(documents)
        while batch := await asyncio.to_thread(encode_batch, left, refused):
            written = await self._insert(collection, batch)
            inserted += written.inserted
            known += written.known
            refused.update(written.refused)
        return Written(inserted, known, refused)

    async def _insert(self, collection: Collection, batch: Sequence[Encoded]) -> Written:
        known, refused = 0, {}
        try:
            async with self._step():
                await self._raw(collection).insert_many([raw for _, raw in batch], ordered=False)
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors"):
                raise StoreUnavailable(explain(error)) from error
            for failure in error.details["writeErrors"]:
                if is_known(failure):
                    known += 1
                elif failure.get("code") in SERVER:
                    raise StoreUnavailable(explain(error)) from error
                else:
                    refused[batch[failure["index"]][0]] = str(failure.get("errmsg"))
        except (OperationFailure, InvalidDocument) as error:
            # One document made the whole command fail: halves show which one.
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
        id, raw = await asyncio.to_thread(encode_document, document)
        try:
            async with self._step():
                try:
                    await self._raw(collection).replace_one({"_id": id}, raw, upsert=True)
                except DuplicateKeyError:  # another controller has just written it
                    await self._raw(collection).replace_one({"_id": id}, raw, upsert=True)
        except (OperationFailure, InvalidDocument) as error:
            raise DocumentRefused(first_line(error)) from error

    async def get(self, collection: Collection, id: str) -> dict[str, Any] | None:
        if not writable([id]):
            return None
        async with self._reading():
            raw = await self._raw(collection).find_one({"_id": id})
        return None if raw is None else await asyncio.to_thread(decode, raw.raw, OPTIONS)

    async def find(self, query: Query) -> AsyncIterator[dict[str, Any]]:
        """Each page is a query of its own, so that a slow reader holds nothing on the server."""
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
        """The documents that follow one; fewer than ``size`` if they are large."""
        order = -1 if query.newest_first else 1
        async with self._reading():
            cursor = self._of(query.collection).find_raw_batches(
                filter_after(query, after),
                sort=[("ts", order), ("_id", order)],
                limit=-size,  # one batch, and no cursor is left open
            )
            async with cursor:
                batch: bytes = await anext(cursor, b"")  # type: ignore[arg-type]
        return await asyncio.to_thread(lambda: decode_all(batch, OPTIONS))

    async def count(self, query: Query) -> int:
        async with self._reading():
            return await self._of(query.collection).count_documents(filter_of(query))

    async def delete(self, query: Query) -> int:
        """Delete in several short steps."""
        collection, restriction = self._of(query.collection), filter_of(query)
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
        check_blob(id, content)
        async with self._reading():
            with suppress(DuplicateKeyError):  # another controller has just written it
                await self._pages.replace_one({"_id": id}, {"content": content}, upsert=True)

    async def get_blob(self, id: str) -> bytes | None:
        if not writable([id]):
            return None
        async with self._reading():
            page = await self._pages.find_one({"_id": id})
            return page["content"] if page else await self._gridfs_page(id)

    async def _gridfs_page(self, id: str) -> bytes | None:
        """A page of an earlier release, which used GridFS."""
        file = await self._gridfs_files.find_one({"filename": id}, sort=[("uploadDate", -1)])
        if file is None:
            return None
        chunks = self._gridfs_chunks.find({"files_id": file["_id"]}, sort=[("n", 1)])
        content = b"".join([chunk["data"] async for chunk in chunks])
        if len(content) != file["length"]:
            raise StoreUnavailable(f"cannot read the page {id}: parts of it are missing")
        return content

    async def delete_blob(self, id: str) -> None:
        if not writable([id]):
            return
        async with self._reading():
            await self._pages.delete_one({"_id": id})
            files = await self._gridfs_files.find({"filename": id}, {"_id": 1}).to_list()
            if files:
                # The chunks first, so that a deletion that was cut off can be repeated.
                ids = {"$in": [file["_id"] for file in files]}
                await self._gridfs_chunks.delete_many({"files_id": ids})
                await self._gridfs_files.delete_many({"_id": ids})

    def _of(self, collection: Collection) -> AsyncCollection[dict[str, Any]]:
        return self._database[collection.value]

    def _raw(self, collection: Collection) -> AsyncCollection[RawBSONDocument]:
        """The collection with documents as bytes, which threads encode and decode."""
        return self._of(collection).with_options(CodecOptions(document_class=RawBSONDocument))

    @asynccontextmanager
    async def _step(self) -> AsyncIterator[None]:
        """Limit the time of one step. Errors that concern a document pass through."""
        try:
            # The driver keeps to its own limit; the outer one is for waits that the driver overlooks.
            async with asyncio.timeout(self._timeout + 1):
                await self._find_server()
                with pymongo.timeout(self._timeout):
                    yield
        except (PyMongoError, OSError) as error:
            if isinstance(error, OperationFailure) and not concerns_server(error):
                raise
            raise StoreUnavailable(explain(error)) from error

    async def _find_server(self) -> None:
        """Fail soon: the driver itself would look for a server as long as the step may take."""
        if not self._client.topology_description.has_writable_server():
            with pymongo.timeout(_FINDING / 1000):
                await self._client.admin.command("ping")

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        """A step that sends no document: every error concerns the server."""
        try:
            async with self._step():
                yield
        except PyMongoError as error:
            raise StoreUnavailable(explain(error)) from error
