"""What is seen of a rollout in one tick."""

import logging
from dataclasses import replace
from datetime import UTC, datetime

from model_deployment.core.domain import Deployment, Desired, State
from model_deployment.core.endpoints import Endpoint, Rollout
from model_deployment.endpoints.collaborators import RolloutCollaborators
from model_deployment.endpoints.decide import RolloutSeen
from model_deployment.endpoints.evidence import RolloutEvidence
from model_deployment.endpoints.findings import Judgement
from model_deployment.endpoints.progress import Progress, guards_broken

_log = logging.getLogger(__name__)

_MEGABYTE = 1024 * 1024
#: A candidate leaks if it has grown by this factor, and by this much, while memory is short.
_GROWTH, _GROWTH_BYTES = 1.5, 100 * _MEGABYTE


def observe(
    world: RolloutCollaborators,
    progress: Progress,
    endpoint: Endpoint,
    rollout: Rollout,
    candidate: Deployment | None,
    known: RolloutEvidence,
    champion_stays: str = "",
) -> tuple[RolloutSeen, RolloutEvidence, Judgement | None]:
    """The observation, and what is known about the candidate with it.

    Args:
        known: with :meth:`Progress.findings`, which were read before the row of the candidate was.
        champion_stays: see :class:`RolloutSeen`.
    """
    known = known.counted(world.counts(rollout.id))
    if candidate is not None and known.recreate and candidate.desired is Desired.RUNNING:
        known = replace(known, deployed=True)  # a crash came before that was written
    if candidate is not None and candidate.state is State.READY:
        known = _first_measured(known, candidate)
    sums = known.sums
    judgement: Judgement | None
    try:
        state, judgement = world.judge(endpoint, rollout, known.judge, sums)
    except Exception as error:  # an operator can still steer the rollout
        _log.exception("cannot judge rollout %s", rollout.id)
        state, judgement = known.judge, guards_broken(error)
    known = replace(known, judge=state)
    counted = sums.get(rollout.stage)
    seen = RolloutSeen(
        now=datetime.now(UTC),
        candidate=candidate,
        deployed=known.deployed,
        refusal=progress.refusal(rollout.id),
        working=progress.work.of(rollout.id),
        check=known.check,
        replay=known.replay,
        retry=progress.may_retry(rollout.id),
        judgement=judgement if rollout.stage else None,
        requests=counted.candidate.requests if counted else 0,
        restarts=_restarts(known, candidate),
        leak=_leak(world, known, rollout, candidate),
        champion_stays=champion_stays,
    )
    return seen, known, judgement


def _first_measured(known: RolloutEvidence, candidate: Deployment) -> RolloutEvidence:
    launches = candidate.starts if known.launches is None else known.launches
    memory = candidate.memory if known.memory is None else known.memory
    return replace(known, deployed=True, launches=launches, memory=memory)


def _restarts(known: RolloutEvidence, candidate: Deployment | None) -> int:
    if candidate is None or known.launches is None:
        return 0
    return max(0, candidate.starts - known.launches)


def _leak(
    world: RolloutCollaborators,
    known: RolloutEvidence,
    rollout: Rollout,
    candidate: Deployment | None,
) -> str:
    if candidate is None or not candidate.memory or not known.memory:
        return ""
    grown = candidate.memory - known.memory
    if grown < max(_GROWTH_BYTES, (_GROWTH - 1) * known.memory) or not world.memory_short():
        return ""
    return (
        f"version {rollout.candidate} has grown from {known.memory // _MEGABYTE} MB to "
        f"{candidate.memory // _MEGABYTE} MB, and memory is short"
    )
