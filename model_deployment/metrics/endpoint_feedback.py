"""Ground truth of predictions that came by an endpoint: each label goes to the version that answered."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from model_deployment.core.names import ModelKey
from model_deployment.documents.base import Collection, Documents, Query
from model_deployment.metrics.feedback import PATIENCE, Feedback, Label

#: Of the answers for single versions, what is added up.
_COUNTS = ("matched", "waiting", "unmatched", "ambiguous", "duplicate", "labelled_rows")


class EndpointFeedback:
    def __init__(self, feedback: Feedback) -> None:
        self._store = feedback.store
        self._feedback = feedback

    async def add(
        self, endpoint: str, keys: Sequence[ModelKey], items: Sequence[Label]
    ) -> dict[str, Any]:
        """Store the labels of all requests that are captured, and compute metrics for each version.

        Labels of other requests are counted and not stored: nothing tells which version they belong to.

        Args:
            keys: of the versions that may have answered, of one model.

        Raises:
            InvalidRequest, StoreUnavailable: as :meth:`Feedback.add` does.
        """
        wanted = {item.request_id for item in items}
        documents = await self._store.opened()
        answered = await _answered(documents, endpoint, keys, wanted)
        complete = True
        if missing := wanted - answered.keys():
            complete = await self._store.caught_up(PATIENCE)
            answered |= await _answered(documents, endpoint, keys, missing)
        by_version: dict[ModelKey, list[Label]] = defaultdict(list)
        found: Counter[str] = Counter()
        for item in items:
            match [*answered.get(item.request_id, ())]:
                case [key]:
                    by_version[key].append(item)
                case []:
                    found["unmatched" if complete else "waiting"] += 1
                case _:
                    found["ambiguous"] += 1
        notes = _notes(found)
        versions: dict[str, Any] = {}
        for key, labels in sorted(by_version.items()):
            versions[str(key.version)] = made = await self._feedback.add(key, labels)
            found.update({name: made[name] for name in _COUNTS})
            notes += [f"version {key.version}: {made['note']}"] if made["note"] else []
        counts = {name: found[name] for name in _COUNTS}
        return {**counts, "versions": versions, "note": "; ".join(notes) or None}


async def _answered(
    documents: Documents, endpoint: str, keys: Sequence[ModelKey], request_ids: set[str]
) -> dict[str, set[ModelKey]]:
    """The versions that answered requests, by request id; those that answered by the endpoint go first."""
    by_endpoint: dict[str, set[ModelKey]] = defaultdict(set)
    otherwise: dict[str, set[ModelKey]] = defaultdict(set)
    if not keys:
        return {}
    query = Query(Collection.CAPTURES, keys[0].model, request_ids=sorted(request_ids))
    async for found in documents.find(query):
        key = ModelKey(found["model"], found["version"])
        if key in keys:
            place = by_endpoint if found.get("endpoint") == endpoint else otherwise
            place[found["request_id"]].add(key)
    return {**otherwise, **by_endpoint}


def _notes(found: Counter[str]) -> list[str]:
    notes = {
        "waiting": "{} of the labels are not stored: the request may still be on its way to the document "
        "store; send them again in a moment",
        "unmatched": "{} of the labels are not stored: no version of this endpoint has a captured request "
        "with this id: the request_id is not the X-Request-Id of a prediction's answer, or the request was "
        "not captured (capture_rate), or has been deleted (retention_days)",
        "ambiguous": "{} of the labels are not stored: several versions answered a request with this "
        "request_id; send them to one version (<model>-<version>)",
    }
    return [text.format(found[fate]) for fate, text in notes.items() if found[fate]]
