"""Finds out which documents must no longer be stored, since their requests were erased."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import chain

from model_deployment.documents.base import Collection, Document, Documents, Query


async def erased_ids(store: Documents, parts: Iterable[Iterable[Document]]) -> set[str]:
    """Ids of the documents whose requests were erased later.

    A shadow is erased with the request that was copied, which another version of the model answered.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    requests = {}
    for one in chain.from_iterable(parts):
        if isinstance(request := one.get("request_id"), str):
            version = None if "rollout" in one else one["version"]
            requests[one["_id"]] = (one["model"], version, request), one["ts"]
    if not requests:
        return set()
    names = sorted({request[2] for request, _ in requests.values()})
    erased: dict[tuple[str, int | None, str], datetime] = {}
    async for found in store.find(Query(Collection.ERASED, request_ids=names)):
        for version in (found["version"], None):
            request = found["model"], version, found["request_id"]
            erased[request] = max(found["ts"], erased.get(request, found["ts"]))
    # Stores truncate times to milliseconds.
    return {
        id
        for id, (request, moment) in requests.items()
        if request in erased and moment < erased[request] + timedelta(milliseconds=1)
    }
