"""The stages of a release, as pages show them: how many devices run it, and where it stands. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from model_deployment.core.devices import UNDER_WAY, UNSUCCESSFUL, UpdateState
from model_deployment.core.releases import Release, ReleasePolicy, ReleaseState
from model_deployment.devices.views import ReleaseStageView, ReleaseView
from model_deployment.rendering import numbers

#: A release in one of these opens no further stage.
_ENDED = frozenset({ReleaseState.STOPPED, ReleaseState.SUPERSEDED, ReleaseState.FAILED})


class StageStanding(StrEnum):
    """Where a stage is; the value is its word."""

    DONE = "done"
    HERE = "now"
    PAUSED = "paused"
    STOPPED = "stopped here"
    AHEAD = "to come"
    NEVER = "not reached"


@dataclass(frozen=True, slots=True)
class StageBar:
    """Devices as parts of a bar; ``x`` and ``width`` are 0 to 100."""

    style: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class StageLine:
    """A stage."""

    name: str
    place: StageStanding
    text: str
    bars: tuple[StageBar, ...]


def stage_lines(view: ReleaseView) -> list[StageLine]:
    """The stages in their order."""
    return [
        StageLine(one.name, _place(view.release, one), _text(one), bars(one.counts, one.devices))
        for one in view.stages
    ]


def _place(release: Release, stage: ReleaseStageView) -> StageStanding:
    if release.state is ReleaseState.COMPLETE:
        return StageStanding.DONE
    if not stage.open:
        return StageStanding.NEVER if release.state in _ENDED else StageStanding.AHEAD
    if stage.number < release.stage:
        return StageStanding.DONE
    if release.state is ReleaseState.PAUSED:
        return StageStanding.PAUSED
    return StageStanding.STOPPED if release.state in _ENDED else StageStanding.HERE


def _text(stage: ReleaseStageView) -> str:
    if not stage.devices:
        return "no devices"
    return progress_text(stage.counts, stage.devices)


def progress_text(counts: Mapping[UpdateState, int], devices: int) -> str:
    """How many devices run a release, in words."""
    running, failed, busy = _sums(counts)
    said = [f"{numbers.number(running)} of {numbers.count(devices, 'device')} run it"]
    if busy:
        said.append(f"{numbers.number(busy)} under way")
    if failed:
        said.append(f"{numbers.number(failed)} failed")
    return ", ".join(said)


def bars(counts: Mapping[UpdateState, int], devices: int) -> tuple[StageBar, ...]:
    """Devices that run it, those that are busy with it, and those that failed, as parts of all."""
    running, failed, busy = _sums(counts)
    whole = max(devices, running + failed + busy)
    found, x = [], 0.0
    for style, count in (("running", running), ("busy", busy), ("failed", failed)):
        if count and whole:
            width = 100 * count / whole
            found.append(StageBar(style, round(x, 2), round(width, 2)))
            x += width
    return tuple(found)


def _sums(counts: Mapping[UpdateState, int]) -> tuple[int, int, int]:
    """Devices that run it, that failed, and that are busy."""
    return (
        counts.get(UpdateState.RUNNING, 0),
        sum(counts.get(one, 0) for one in UNSUCCESSFUL),
        sum(counts.get(one, 0) for one in UNDER_WAY),
    )


def total(stages: Sequence[ReleaseStageView]) -> tuple[dict[UpdateState, int], int]:
    """All stages together: devices by state, and their number."""
    counts = dict.fromkeys(UpdateState, 0)
    for stage in stages:
        for state, count in stage.counts.items():
            counts[state] += count
    return counts, sum(one.devices for one in stages)


#: What an operator may do with a release in a state, as the API calls it.
ACTIONS: Mapping[ReleaseState, tuple[str, ...]] = {
    ReleaseState.PREPARING: ("stop",),
    ReleaseState.ROLLING: ("pause", "stop"),
    ReleaseState.PAUSED: ("resume", "stop"),
    ReleaseState.COMPLETE: ("stop",),
}


def policy_text(policy: ReleasePolicy) -> list[tuple[str, str]]:
    """A policy in words."""
    stages = [
        *(f"group {group}" for group in policy.groups),
        *(f"{percent:g} %" for percent in policy.percent),
        "the rest",
    ]
    abort = policy.abort
    return [
        ("stages", ", ".join(stages)),
        ("next stage", _next(policy)),
        (
            "stops",
            f"once {numbers.count(abort.failed, 'device')} failed, and at least {abort.failed} of "
            f"{abort.of} that reported",
        ),
    ]


def _next(policy: ReleasePolicy) -> str:
    rest = f", and rested for {_seconds(policy.soak)}" if policy.soak else ""
    return f"when {policy.success:g} % of the devices reached run it{rest}"


def _seconds(value: float) -> str:
    return f"{value:g} s" if value < 60 else numbers.duration(value)
