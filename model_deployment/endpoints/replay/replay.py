"""Replay: captured requests of the champion are sent to the candidate, and both answers are compared.

Nobody waits for these answers, so replay takes its time: it sends one request at a time, rests as long as
the candidate worked, and waits while callers keep the machine busy. What it sends goes straight to the
model server, so it is neither captured nor counted as served. Nothing is kept until the end: a replay that
was cut off begins anew.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import aiohttp

from model_deployment.core.answer_shape import SHAPE, same_shape
from model_deployment.core.rollout_counts import ArmCounts, StageCounts
from model_deployment.core.rollout_policy import GuardLimits
from model_deployment.documents.base import Documents
from model_deployment.endpoints.findings import CandidateFinding, Outcome
from model_deployment.endpoints.replay.candidate_check import nothing_captured
from model_deployment.endpoints.replay.captured_requests import (
    CapturedRequest,
    CapturedRequests,
    labels,
    telling,
)
from model_deployment.endpoints.replay.examined_version import ExaminedVersion
from model_deployment.endpoints.replay.model_call import call, check_captured, content
from model_deployment.endpoints.replay.replayed import AnswerKind, ReplayedAnswer, ReplayedPair
from model_deployment.endpoints.replay.verdict import verdict
from model_deployment.recording.histogram import Histogram
from model_deployment.rendering.numbers import count

#: Longest rest between two requests, and pause while callers keep the machine busy, in seconds.
_REST, _PAUSE = 0.1, 0.05
#: Seconds that one request lets callers pass.
_PATIENCE = 0.5
#: First requests after which a replay ends if all of them failed: the others would only take time.
_HOPELESS = 20


@dataclass(frozen=True, slots=True)
class ReplayLimits:
    """How long a replay may take."""

    #: Captured requests that are sent, at most.
    requests: int
    #: Seconds for all of them, waiting included, and for one.
    total: float = 600.0
    each: float = 60.0


@dataclass(slots=True)
class _Sent:
    pairs: list[ReplayedPair] = field(default_factory=list)
    #: Of the candidate, by kind.
    failures: Counter[str] = field(default_factory=Counter)
    latencies: tuple[Histogram, Histogram] = field(
        default_factory=lambda: (Histogram(), Histogram())
    )
    began: float = field(default_factory=time.monotonic)
    #: Why not all requests were sent; empty if all were.
    ended_early: str = ""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def counts(self) -> StageCounts:
        """As if the requests had been served."""
        champion, candidate = (dict(one) for one in self.latencies)
        return StageCounts(
            ArmCounts(len(self.pairs), {}, champion),
            ArmCounts(len(self.pairs), dict(self.failures), candidate),
            candidate_only=self.failures.total(),
        )

    def add(self, pair: ReplayedPair, failure: str) -> None:
        self.pairs.append(pair)
        self.failures.update([failure] if failure else [])
        for histogram, one in zip(self.latencies, (pair.champion, pair.candidate), strict=True):
            if one.latency_ms is not None and one.kind is AnswerKind.OK:
                histogram.observe(one.latency_ms)


async def replay(
    candidate: ExaminedVersion,
    champion: ExaminedVersion,
    limits: ReplayLimits,
    documents: Documents,
    session: aiohttp.ClientSession,
    *,
    guard: GuardLimits,
    busy: Callable[[], bool] = lambda: False,
    doubted: int = 0,
) -> CandidateFinding:
    """Replay captured requests of the champion, and judge the answers.

    Args:
        guard: what the endpoint's policy does not tolerate.
        busy: whether callers need the machine now, for example because more requests of the champion are
            in flight than it has workers.
        doubted: earlier replays that left a doubt about quality; ``doubted`` of the last one's figures.

    Returns:
        The verdict on the pairs of answers, with what could not be sent again in its reason and figures;
        inconclusive, if nothing could be.

    Raises:
        StoreUnavailable: captures or labels cannot be read now.
    """
    captured = await telling(documents, champion, limits.requests)
    if not captured.requests:
        return CandidateFinding(
            Outcome.INCONCLUSIVE, nothing_captured(champion, captured), captured.figures()
        )
    sent = await _send_all(candidate, captured.requests, limits, session, busy)
    known = await labels(documents, champion, captured.requests)
    pairs = [
        replace(pair, labels=known.get(request.id, {}))
        for pair, request in zip(sent.pairs, captured.requests, strict=False)
    ]
    # On a thread: the statistics of some hundred thousand rows take seconds.
    found = await asyncio.to_thread(
        verdict,
        pairs,
        limits.requests,
        guard,
        candidate.key.version,
        champion.key.version,
        doubted,
    )
    return _completed(found, captured, sent)


async def _send_all(
    candidate: ExaminedVersion,
    requests: Sequence[CapturedRequest],
    limits: ReplayLimits,
    session: aiohttp.ClientSession,
    busy: Callable[[], bool],
) -> _Sent:
    done = _Sent()
    try:
        async with asyncio.timeout(limits.total):
            for number, request in enumerate(requests, 1):
                await _let_pass(busy)
                pair, failure = await _send(candidate, request, limits.each, session)
                done.add(pair, failure)
                if number == done.failures.total() == _HOPELESS < len(requests):
                    done.ended_early = f"replay ended after {number} failures, and no answer"
                    break
                await asyncio.sleep(min((pair.candidate.latency_ms or 0.0) / 1000, _REST))
    except TimeoutError:
        left = len(requests) - len(done.pairs)
        done.ended_early = (
            f"replay ended after {limits.total:g} s; {count(left, 'captured request')} "
            f"{'was' if left == 1 else 'were'} not sent"
        )
    return done


async def _let_pass(busy: Callable[[], bool]) -> None:
    """Wait while callers need the machine, but not for ever: they may need it all day."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            while busy():  # noqa: ASYNC110 - nothing tells when it is over
                await asyncio.sleep(_PAUSE)


async def _send(
    candidate: ExaminedVersion,
    request: CapturedRequest,
    timeout: float,
    session: aiohttp.ClientSession,
) -> tuple[ReplayedPair, str]:
    """The pair of answers, and how the candidate failed: empty if it did not."""
    if candidate.address is None:
        raise ValueError(f"cannot replay requests to {candidate.name}: it has no model server")
    champion = ReplayedAnswer(AnswerKind.OK, request.predictions, request.latency_ms)
    body, result = await asyncio.to_thread(check_captured, candidate.gate, request.body)
    if result.refused:
        return ReplayedPair(champion, ReplayedAnswer(AnswerKind.REFUSED)), "refused"
    sent = content(candidate.gate, body, result)
    answer = await call(session, candidate.address, sent, timeout)
    failure = answer.failure
    if not failure and not same_shape(request.predictions, answer.predictions):
        failure = SHAPE
    kind = AnswerKind.FAILED if failure else AnswerKind.OK
    return ReplayedPair(
        champion, ReplayedAnswer(kind, answer.predictions, answer.latency_ms)
    ), failure


def _completed(
    found: CandidateFinding, captured: CapturedRequests, sent: _Sent
) -> CandidateFinding:
    notes = [sent.ended_early, captured.left_out]
    if odd := sent.failures[SHAPE]:
        notes.insert(0, f"{count(odd, 'answer')} of another shape than the champion's")
    figures = {
        **found.figures,
        **captured.figures(),
        "sent": len(sent.pairs),
        "counts": sent.counts.as_dict(),
        "seconds": round(sent.seconds, 1),
    }
    return CandidateFinding(found.outcome, "; ".join(filter(None, [found.reason, *notes])), figures)
