"""What labels say about both versions of a rollout, for the quality guard, from the document store."""

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from datetime import datetime

from model_deployment.core.endpoints import Endpoint, Rollout
from model_deployment.core.names import ModelKey
from model_deployment.documents.base import Documents, StoreUnavailable
from model_deployment.documents.owner_view import DocumentSource
from model_deployment.endpoints.guards.labelled_losses import MIN_LOSSES, LabelledLosses, poor_bound
from model_deployment.endpoints.labelled_answers import (
    LabelledAnswer,
    first_answer,
    labelled_answers,
)
from model_deployment.metrics.losses import RowLosses, row_losses

_log = logging.getLogger(__name__)

#: Labels of each version that are read at most, and those that the bound is made of.
_MOST, _FOR_BOUND = 10_000, 1000
#: Seconds after which the labels are read again.
_FRESH = 30.0


async def labelled_losses(
    documents: Documents,
    champion: ModelKey,
    candidate: ModelKey,
    since: datetime,
    bound: float | None = None,
) -> LabelledLosses | None:
    """Count the labelled answers of both versions, and those that are poor, since the canary began.

    The canary began when the candidate's first answer was captured. So both versions are counted over
    the same time.

    Args:
        since: when the rollout began.
        bound: the loss above which an answer is poor, as it was found before; None finds one.

    Returns:
        None if the candidate has no captured answers, or too few labels are known for a bound.

    Raises:
        StoreUnavailable: unknown.
    """
    began = await first_answer(documents, candidate, since)
    if began is None:
        return None
    before = await labelled_answers(
        documents, champion, until=began, newest_first=True, limit=_FOR_BOUND
    )
    of_champion, of_candidate = [
        await labelled_answers(documents, key, since=began, limit=_MOST)
        for key in (champion, candidate)
    ]
    return await asyncio.to_thread(_counted, before, of_champion, of_candidate, bound)


def _counted(
    before: Sequence[LabelledAnswer],
    champion: Sequence[LabelledAnswer],
    candidate: Sequence[LabelledAnswer],
    bound: float | None,
) -> LabelledLosses | None:
    parts = (before, champion, candidate)
    rows = [row for part in parts for answer in part for row in answer.rows]
    # Together, so that all are taken for amounts, or all for classes.
    found = row_losses([label for label, _ in rows], [said for _, said in rows])
    losses = iter(found.losses[0])
    by_answer = [[[next(losses) for _ in answer.rows] for answer in part] for part in parts]
    known = [
        [some for losses in part if (some := [one for one in losses if one is not None])]
        for part in by_answer
    ]
    earlier, one, other = ([math.fsum(some) / len(some) for some in part] for part in known)
    if bound is None:
        bound = poor_bound(earlier if len(earlier) >= MIN_LOSSES else one[:MIN_LOSSES])
    if bound is None:
        return None
    return LabelledLosses(
        bound,
        champion_answers=len(one),
        candidate_answers=len(other),
        champion_poor=sum(loss > bound for loss in one),
        candidate_poor=sum(loss > bound for loss in other),
        metric=found.metric,
        champion_error=_error(found, known[1]),
        candidate_error=_error(found, known[2]),
    )


def _error(found: RowLosses, answers: Sequence[Sequence[float]]) -> float | None:
    losses = [loss for some in answers for loss in some]
    return found.error(losses) if losses else None


class LabelWatch:
    """Keeps what labels say about each rollout, for a guard that must not wait for the store."""

    def __init__(self, store: DocumentSource) -> None:
        self._store = store
        self._known: dict[int, LabelledLosses | None] = {}
        self._read_at: dict[int, float] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def of(
        self, endpoint: Endpoint, rollout: Rollout, bound: float | None = None
    ) -> LabelledLosses | None:
        """What was read last; begins to read anew if that is some time ago.

        Args:
            bound: as the guard remembers it, so that a restarted controller counts on.
        """
        stale = time.monotonic() - self._read_at.get(rollout.id, -math.inf) >= _FRESH
        if rollout.champion is not None and stale and rollout.id not in self._tasks:
            keys = endpoint.key(rollout.champion), endpoint.key(rollout.candidate)
            task = asyncio.create_task(self._read(rollout, *keys, bound))
            self._tasks[rollout.id] = task
        return self._known.get(rollout.id)

    def forget(self, rollout: int) -> None:
        """The rollout has ended."""
        self._known.pop(rollout, None)
        self._read_at.pop(rollout, None)

    async def close(self) -> None:
        """Stop reading."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(
        self, rollout: Rollout, champion: ModelKey, candidate: ModelKey, bound: float | None
    ) -> None:
        before = self._known.get(rollout.id)
        bound = before.bound if before is not None else bound
        try:
            documents = await self._store.opened()
            self._known[rollout.id] = await labelled_losses(
                documents, champion, candidate, rollout.started_at, bound
            )
        except StoreUnavailable as error:
            _log.warning("cannot read the labels of rollout %s: %s", rollout.id, error)
        finally:
            self._read_at[rollout.id] = time.monotonic()
            self._tasks.pop(rollout.id, None)
