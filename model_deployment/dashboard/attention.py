"""Which deployments and endpoints need attention, why, and how urgently. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from itertools import dropwhile

from model_deployment.core.domain import Deployment, State
from model_deployment.core.endpoints import Order, Rollout, RolloutState
from model_deployment.core.events import Event
from model_deployment.core.replacement import ReplacementState
from model_deployment.core.replica_counts import replica_counts
from model_deployment.dashboard.activity import Figures
from model_deployment.degradation.wording.verdict_words import Verdict, words
from model_deployment.endpoints.views import EndpointView, VersionRole
from model_deployment.rendering import numbers
from model_deployment.reports.last_reports import LastReport

#: Share of the requests of the last minutes, 0 to 1, from which errors of the model need attention.
ERROR_SHARE = 0.01
#: How long a deployment that ended by itself is told of after it is ready again.
_RECOVERED = timedelta(minutes=2)
#: A rollout's reason begins so if it waits for a decision of an operator.
_HELD = ("inconclusive", "paused")


class Need(IntEnum):
    """Kinds of trouble, the most urgent first."""

    FAILED = 0
    RESTARTING = 1
    MODEL_ERRORS = 2
    DEGRADED = 3
    DRIFT = 4
    ROLLOUT = 5
    FLOW = 6
    DEVICES = 7


@dataclass(frozen=True, slots=True)
class Problem:
    need: Need
    #: In a few words, as a label.
    name: str
    #: Why: begins with the last line of the exception, if there was one.
    text: str
    #: ``bad`` or ``warn``.
    tone: str = "bad"
    #: None if unknown.
    since: datetime | None = None
    #: What callers see instead of the text; None if they may see it.
    public: str | None = None


@dataclass(frozen=True, slots=True)
class LastError:
    """What a model failed with most recently."""

    text: str
    since: datetime | None = None
    #: The text without the model's own message, which may repeat what callers sent.
    public: str = ""


def deployment_problems(
    row: Deployment,
    figures: Figures,
    report: LastReport | None,
    error: LastError | None,
    missing: str,
    since: datetime | None,
    now: datetime,
) -> tuple[Problem, ...]:
    """What is wrong with a deployment, the most urgent first.

    Args:
        missing: how many of its replicas or workers serve, if some are missing.
        since: when it ceased to be ready.
    """
    found = [
        _state_problem(row, missing, since, now),
        _replacement_problem(row),
        _errors(row, figures, error),
    ]
    if report is not None:
        found.append(_verdict_problem(report))
    return tuple(sorted((one for one in found if one), key=lambda one: one.need))


def _state_problem(
    row: Deployment, missing: str, since: datetime | None, now: datetime
) -> Problem | None:
    ends = row.tries + row.kills
    replicas = replica_counts(row)
    match row.state:
        case State.FAILED:
            return Problem(Need.FAILED, "Failed", row.reason, since=since)
        case State.PENDING | State.STARTING | State.STOPPING if ends:
            return Problem(Need.RESTARTING, "Restarting", _ended(row.reason, ends), since=since)
        case State.READY if ends and row.ready_at is not None and now - row.ready_at < _RECOVERED:
            text = f"ended {_times(ends)} in a row, and is ready again"
            return Problem(Need.RESTARTING, "Restarted", text, "warn", since)
        case State.READY if replicas.missing:
            failing = next((one for one in row.serving if one.tries + one.kills), None)
            # Others are on their way after a deploy, and while the number grows.
            if failing is not None:
                return Problem(Need.RESTARTING, "Replicas missing", missing, "warn", failing.since)
        case State.READY if missing:
            return Problem(Need.RESTARTING, "Workers missing", missing, "warn", since)
    return None


def _replacement_problem(row: Deployment) -> Problem | None:
    second = row.replacement
    if second is None or second.state is not ReplacementState.FAILED:
        return None
    text = f"the new launch did not become ready, and the one before goes on: {second.reason}"
    return Problem(Need.RESTARTING, "Change failed", text, "warn", second.since)


def _ended(reason: str, ends: int) -> str:
    return f"{reason} ({numbers.count(ends, 'failure')} in a row)" if ends > 1 else reason


def _times(ends: int) -> str:
    return "once" if ends == 1 else f"{ends} times"


def _errors(row: Deployment, figures: Figures, error: LastError | None) -> Problem | None:
    failed, share = figures.model_errors, model_error_share(figures)
    if share < ERROR_SHARE or row.state is State.FAILED:
        return None
    count = (
        f"{numbers.number(failed)} of {numbers.count(figures.requests, 'request')} in the last "
        f"five minutes failed ({numbers.percent(share)})"
    )
    if error is None:
        return Problem(Need.MODEL_ERRORS, "Model errors", count)
    text, public = (f"{said}; {count}" for said in (error.text, error.public or error.text))
    return Problem(Need.MODEL_ERRORS, "Model errors", text, since=error.since, public=public)


def model_error_share(figures: Figures) -> float:
    """Of the requests of the last minutes, 0 to 1. Errors of callers do not count."""
    return figures.model_errors / figures.requests if figures.requests else 0.0


def _verdict_problem(report: LastReport) -> Problem | None:
    needs = {Verdict.DEGRADED: Need.DEGRADED, Verdict.DRIFT: Need.DRIFT}
    need = needs.get(Verdict(report.verdict)) if report.verdict in needs else None
    if need is None:
        return None
    said = words(report.verdict)
    return Problem(need, said.name, report.headline, said.tone, report.since)


def endpoint_problems(view: EndpointView) -> tuple[Problem, ...]:
    """What is wrong with an endpoint, the most urgent first."""
    found = []
    champion = next((one for one in view.versions if one.role is VersionRole.CHAMPION), None)
    if champion is not None and champion.state is State.FAILED:
        text = f"version {champion.version} does not serve: {champion.reason}"
        found.append(Problem(Need.FAILED, "Champion failed", text))
    if view.rollout is not None and (problem := _rollout_problem(view, view.rollout)):
        found.append(problem)
    if view.endpoint.notice:
        found.append(Problem(Need.ROLLOUT, "Alias", view.endpoint.notice, "warn"))
    return tuple(sorted(found, key=lambda one: one.need))


def _rollout_problem(view: EndpointView, rollout: Rollout) -> Problem | None:
    version = f"version {rollout.candidate}"
    if rollout.state is RolloutState.ROLLED_BACK:
        # Once the alias names something else, nobody waits for this version.
        if view.endpoint.alias_version not in (None, rollout.candidate):
            return None
        text = f"{version} was rolled back: {rollout.reason}"
        return Problem(Need.ROLLOUT, "Rolled back", text, since=rollout.ended_at)
    if rollout.active and (rollout.order is Order.PAUSE or rollout.reason.startswith(_HELD)):
        text = f"{version} waits for a decision: {rollout.reason}"
        return Problem(Need.ROLLOUT, "Rollout held", text, "warn", rollout.since)
    return None


def not_ready_since(events: Sequence[Event]) -> datetime | None:
    """When a deployment ceased to be ready, as far as its events tell.

    Args:
        events: newest first.
    """
    since = None
    earlier = dropwhile(lambda event: event.state is State.READY, events)
    for event in earlier:
        if event.state in (State.READY, State.PARKED, State.STOPPED):
            break
        since = event.at
    return since


def failed_since(events: Sequence[Event]) -> datetime | None:
    """When a deployment failed for good; events are newest first."""
    return next((event.at for event in events if event.state is State.FAILED), None)
