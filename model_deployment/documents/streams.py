"""Streams of documents whose cursor is closed in any case."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from model_deployment.documents.base import Documents, Query

#: Request ids in one query.
_IDS = 1000


async def stream(documents: Documents, query: Query) -> AsyncGenerator[dict[str, Any], None]:
    """Documents of a query; for ``contextlib.aclosing``."""
    found = documents.find(query)
    try:
        async for document in found:
            yield document
    finally:
        if (close := getattr(found, "aclose", None)) is not None:
            await close()


async def stream_requests(
    documents: Documents, query: Query, request_ids: Iterable[str]
) -> AsyncGenerator[dict[str, Any], None]:
    """Documents of a query that belong to any of many requests; for ``contextlib.aclosing``."""
    ids = [*request_ids]
    for start in range(0, len(ids), _IDS):
        some = replace(query, request_ids=ids[start : start + _IDS])
        async with aclosing(stream(documents, some)) as found:
            async for document in found:
                yield document
