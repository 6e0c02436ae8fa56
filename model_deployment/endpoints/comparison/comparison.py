"""The comparison of a rollout's versions as JSON: the verdict and its reason first, then the figures."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any

from model_deployment.core.endpoints import SHADOW_STAGE, Endpoint, Rollout, RolloutState
from model_deployment.core.names import ModelKey
from model_deployment.core.rollout_counts import RolloutCounts, StageCounts
from model_deployment.documents.base import Collection, Documents, Query, StoreUnavailable
from model_deployment.documents.streams import stream, stream_requests
from model_deployment.endpoints.comparison.parts import (
    paired_predictions,
    paired_quality,
    stage,
    unpaired_predictions,
    unpaired_quality,
)
from model_deployment.endpoints.evidence import RolloutEvidence
from model_deployment.endpoints.findings import CandidateFinding
from model_deployment.endpoints.labelled_answers import first_answer, labelled_answers, labels_of
from model_deployment.endpoints.replay.replayed import AnswerKind, ReplayedAnswer, ReplayedPair

#: Captures, shadows and labels that are read at most, the newest ones.
_MOST = 2000

_VERDICTS: Mapping[RolloutState, str] = {
    RolloutState.PROMOTED: "promoted",
    RolloutState.ROLLED_BACK: "rolled_back",
    RolloutState.SUPERSEDED: "superseded",
}


async def comparison(
    endpoint: Endpoint, rollout: Rollout, documents: Documents | None
) -> dict[str, Any]:
    """Compare the champion and the candidate of a rollout.

    Args:
        documents: None leaves out what only captures tell: predictions and quality of shadow and canary.

    Returns:
        JSON. ``verdict`` is ``promoted``, ``rolled_back``, ``superseded``, or ``undecided`` while the
        rollout is under way. Without a document store ``note`` says what is missing.
    """
    known = RolloutEvidence.from_dict(rollout.evidence)
    sums = known.sums
    found: dict[str, Any] = {
        "verdict": _VERDICTS.get(rollout.state, "undecided"),
        "reason": rollout.reason,
        "endpoint": str(endpoint.name),
        "rollout": rollout.id,
        "champion": rollout.champion,
        "candidate": rollout.candidate,
        "state": str(rollout.state),
        "started_at": rollout.started_at.isoformat(),
        "ended_at": rollout.ended_at.isoformat() if rollout.ended_at else None,
        "note": "",
        "check": known.check.as_dict() if known.check else None,
        "replay": _replayed(known.replay),
        "shadow": _stage(sums, [SHADOW_STAGE]),
        "canary": _stage(sums, steps := sorted(sums.keys() - {SHADOW_STAGE})),
        "canary_steps": [{"stage": name, **stage(sums[name])} for name in steps],
    }
    if documents is not None and rollout.champion is not None:
        try:
            await _add_captured(found, endpoint, rollout, rollout.champion, documents)
        except StoreUnavailable as error:
            found["note"] = f"predictions and quality are not compared: {error}"
    return found


def _stage(sums: RolloutCounts, names: list[str]) -> dict[str, Any] | None:
    """The sum of some stages; None if there was none of them."""
    counts = StageCounts()
    for name in names:
        counts.add(sums.get(name, StageCounts()))
    if not counts.champion.requests and not counts.candidate.requests and not counts.dropped:
        return None
    return stage(counts)


def _replayed(finding: CandidateFinding | None) -> dict[str, Any] | None:
    """The finding in the form of a stage, if anything was sent."""
    if finding is None:
        return None
    figures = dict(finding.figures)
    counts = figures.pop("counts", None)
    return {
        "outcome": str(finding.outcome),
        "reason": finding.reason,
        **(stage(StageCounts.from_dict(counts)) if counts else {}),
        "predictions": figures.pop("predictions", None),
        "quality": figures.pop("quality", None),
        "figures": figures,
    }


async def _add_captured(
    found: dict[str, Any],
    endpoint: Endpoint,
    rollout: Rollout,
    champion: int,
    documents: Documents,
) -> None:
    keys = endpoint.key(champion), endpoint.key(rollout.candidate)
    if found["shadow"] is not None:
        pairs = await _shadowed(documents, rollout, *keys)
        found["shadow"] |= await asyncio.to_thread(_of_pairs, pairs)
    if found["canary"] is not None:
        # Both over the same time: from the first answer of the candidate on.
        began = await first_answer(documents, keys[1], rollout.started_at) or rollout.started_at
        name, ended = str(endpoint.name), rollout.ended_at
        both = [await _predicted(documents, key, name, began, ended) for key in keys]
        labelled = [
            await labelled_answers(
                documents, key, since=began, until=ended, newest_first=True, limit=_MOST
            )
            for key in keys
        ]
        found["canary"] |= {
            "predictions": await asyncio.to_thread(unpaired_predictions, *both),
            "quality": await asyncio.to_thread(unpaired_quality, *labelled),
        }


def _of_pairs(pairs: list[ReplayedPair]) -> dict[str, Any]:
    return {
        "predictions": paired_predictions([row for pair in pairs for row in pair.compared]),
        "quality": paired_quality([row for pair in pairs for row in pair.labelled]),
    }


async def _shadowed(
    documents: Documents, rollout: Rollout, champion: ModelKey, candidate: ModelKey
) -> list[ReplayedPair]:
    """The answers of both versions to shadowed requests."""
    answers: dict[str, ReplayedAnswer] = {}
    query = Query.of(
        Collection.SHADOWS, candidate, since=rollout.started_at, newest_first=True, limit=_MOST
    )
    async with aclosing(stream(documents, query)) as shadows:
        async for one in shadows:
            if one["rollout"] == rollout.id:
                kind = AnswerKind.OK if one["status"] == 200 else AnswerKind.FAILED
                answers[one["request_id"]] = ReplayedAnswer(
                    kind, one["predictions"], one["latency_ms"]
                )
    labels = await labels_of(documents, champion, answers)
    pairs = []
    query = Query.of(Collection.CAPTURES, champion, since=rollout.started_at)
    async with aclosing(stream_requests(documents, query, answers)) as captures:
        async for one in captures:
            id, said = one["request_id"], one["predictions"]
            own = ReplayedAnswer(AnswerKind.OK, said, one["latency_ms"])
            pairs.append(ReplayedPair(own, answers[id], labels.get(id, {})))
    return pairs


async def _predicted(
    documents: Documents, key: ModelKey, endpoint: str, since: datetime, until: datetime | None
) -> list[Any]:
    """What a version predicted for callers of the endpoint, by row."""
    query = Query.of(
        Collection.CAPTURES, key, since=since, until=until, newest_first=True, limit=_MOST
    )
    found: list[Any] = []
    async with aclosing(stream(documents, query)) as captures:
        async for one in captures:
            # A version may be called by its own name and by other endpoints, too.
            here = one.get("endpoint", endpoint) == endpoint
            if here and isinstance(one["predictions"], list):
                found += [value for value in one["predictions"] if value is not None]
            if len(found) > 10 * _MOST:
                break
    return found


def figures(compared: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a comparison by name, such as ``canary.error_rate.candidate``: metrics of a run."""
    found: dict[str, float] = {}
    for name in ("replay", "shadow", "canary"):
        part = compared.get(name) or {}
        for arm in ("champion", "candidate"):
            shown = part.get(arm) or {}
            quality = part.get("quality") or {}
            measured = str(quality.get("metric", "error")).replace(" ", "_")
            values = {
                "requests": shown.get("requests"),
                "error_rate": shown.get("error_rate"),
                "p95_ms": shown.get("p95_ms"),
                f"quality.{measured}": quality.get(arm),
            }
            for metric, value in values.items():
                if isinstance(value, int | float):
                    found[f"{name}.{metric}.{arm}"] = float(value)
    return found
