"""What a controller knows of one environment, and owes to those that wait for it: a state machine. Pure.

Each function returns the record that comes next. ``now`` is the monotonic clock, in seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager
from model_deployment.environments.environment import (
    BuildFailed,
    Building,
    Environment,
    EnvironmentState,
    Failed,
    Ready,
)

#: Seconds for which a failed build is told to the others that waited for it.
_OWED = 5.0

#: A model that is started in an environment: its folder, and what builds for it.
Model = tuple[Path, EnvManager]


@dataclass(frozen=True, slots=True)
class Unseen:
    """Nobody has asked for it yet."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """It is being built."""

    #: Live: what builds writes there how far it is.
    build: Building
    #: Models that wait for it.
    models: frozenset[Model] = frozenset()
    #: Since when; None while no model waits.
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Usable:
    """It was ready at the last look."""

    environment: Environment
    #: Seconds for which models waited for its build, until the first launch is told.
    took: float | None = None


@dataclass(frozen=True, slots=True)
class Unusable:
    """Its last build failed. The next who wants it has it tried again."""

    error: BuildFailed
    #: Models that waited for that build.
    models: frozenset[Model] = frozenset()


Phase = Unseen | Awaited | Usable | Unusable


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRecord:
    """One environment, by its digest."""

    phase: Phase = field(default_factory=Unseen)
    #: Whether it was ready before.
    was_ready: bool = False
    #: Failures that models are to be told of, and until when.
    owed: Mapping[Model, tuple[BuildFailed, float]] = field(default_factory=dict)
    #: Deployments that were told where it comes from.
    told: frozenset[ModelKey] = frozenset()
    #: When a deployment or a process needed it last.
    last_needed: float | None = None
    #: Whether one needs it now.
    needed: bool = False


def debt(record: EnvironmentRecord, model: Model, now: float) -> BuildFailed | None:
    """The failure that a model is to be told of."""
    found = record.owed.get(model)
    return found[0] if found is not None and now < found[1] else None


def paid(record: EnvironmentRecord, model: Model, now: float) -> EnvironmentRecord:
    """A model was told of the failure; what nobody has asked for in time is forgotten."""
    left = {one: owed for one, owed in record.owed.items() if one != model and now < owed[1]}
    return replace(record, owed=left)


def observed(
    record: EnvironmentRecord, state: EnvironmentState, model: Model | None, now: float
) -> EnvironmentRecord:
    """After a look at it.

    Args:
        model: what wants to be started in it; None: nothing does yet.
    """
    before = record.phase
    waited = before.models if isinstance(before, Awaited | Unusable) else frozenset[Model]()
    match state:
        case Building():
            was = before if isinstance(before, Awaited) else Awaited(state)
            if model is None:
                return replace(record, phase=replace(was, build=state))
            since = now if was.since is None else was.since
            return replace(record, phase=Awaited(state, was.models | {model}, since))
        case Ready(environment):
            took = before.took if isinstance(before, Usable) else None
            if isinstance(before, Awaited) and before.since is not None:
                took = now - before.since
            return replace(record, phase=Usable(environment, took))
        case Failed(error):
            return replace(record, phase=Unusable(error, waited))


def failed(
    record: EnvironmentRecord, error: BuildFailed, model: Model, now: float
) -> EnvironmentRecord:
    """After a model was told that the build has failed.

    Those that waited for the same build have failed with it, and not each with one of its own.
    """
    seen = observed(record, Failed(error), model, now)
    others = seen.phase.models - {model} if isinstance(seen.phase, Unusable) else ()
    owed = {**paid(record, model, now).owed, **dict.fromkeys(others, (error, now + _OWED))}
    return replace(seen, phase=Unusable(error), owed=owed)


def taken(record: EnvironmentRecord, built: Environment, key: ModelKey) -> EnvironmentRecord:
    """After a launch of a deployment has begun in it, and its deployment was told."""
    told = record.told | {key}
    return replace(record, phase=Usable(built), was_ready=True, told=told, owed={})


def origin(record: EnvironmentRecord, key: ModelKey, *, used_before: bool) -> str:
    """Where a deployment that starts in it has it from, in words; empty if it was told before.

    Args:
        used_before: whether an earlier controller had launches in it.
    """
    took = record.phase.took if isinstance(record.phase, Usable) else None
    if took is not None:
        again = record.was_ready or used_before
        return f"was {'rebuilt, since it was gone,' if again else 'built'} in {took:.1f} s"
    if key in record.told:
        return ""
    return "was there already, and is shared by models with the same needs"


def swept(record: EnvironmentRecord, *, needed: bool, now: float) -> EnvironmentRecord:
    """After it was found out who needs it. Of a new one nobody knows since when it is not needed."""
    last = now if needed or record.last_needed is None else record.last_needed
    return replace(record, needed=needed, last_needed=last)


def is_kept(record: EnvironmentRecord, grace: float, now: float) -> bool:
    """Whether a deployment needs it, or did less than ``grace`` seconds ago."""
    return record.needed or (record.last_needed is not None and now < record.last_needed + grace)
