"""The bodies of answers about changes in place, and about what a deploy would take."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field

from model_deployment.api.examples import example
from model_deployment.api.options import OptionsOut
from model_deployment.core.domain import Deployment, Launch
from model_deployment.core.options import Options
from model_deployment.core.replacement import Replacement, ReplacementState
from model_deployment.core.replica_counts import stuck_launch


class ChangeState(StrEnum):
    """How far a change of options or a restart is, as answers say it."""

    PENDING = "pending"
    STARTING = "starting"
    STOPPING = "stopping"
    RETIRING = "retiring"
    FAILED = "failed"


class ReplacementOut(BaseModel):
    """New launches that take the places of those that serve, in a change of options or a restart."""

    model_config = example({
        "state": "starting", "under_way": True, "reason": "launch on port 8002",
        "since": "2026-01-31T12:00:07Z",
        "purpose": "change of workers from 1 to 2 by ann", "launches_before": 1,
        "options": Options(retention_days=30.0, workers=2).as_dict(),
    })  # fmt: skip

    state: ChangeState = Field(
        description="`pending`, `starting`: the new launch does not serve yet. `stopping`: the new launch "
        "is being ended. `retiring`: the new launch serves, those before are replaced and finish their "
        "requests. `failed`: the launches before go on."
    )
    under_way: bool = Field(
        description="The new launch does not serve yet, and may still: look again. Otherwise it serves, or "
        "it has failed."
    )
    reason: str = Field(description="Reason of the state.")
    since: datetime = Field(description="When it entered the state.")
    purpose: str = Field(description="What was asked for, and by whom.")
    options: OptionsOut = Field(description="Options of the new launches.")
    launches_before: int = Field(
        description="Launches from before the change that have not ended yet."
    )

    @classmethod
    def of(cls, row: Deployment) -> "ReplacementOut | None":
        it = row.replacement
        if it is None:
            return None
        told = _launch_that_tells(row, it)
        return cls(
            state=_state(row, it),
            under_way=it.under_way,
            reason=(told.reason if told else "") or it.reason,
            since=told.since if told else it.since,
            purpose=it.purpose,
            options=OptionsOut(**it.options.as_dict()),
            launches_before=sum(_is_before(row, it, one) for one in row.launches),
        )


def _state(row: Deployment, it: Replacement) -> ChangeState:
    match it.state:
        case ReplacementState.FAILED:
            return ChangeState.FAILED
        case ReplacementState.ROLLING:
            return ChangeState.RETIRING
    coming = row.coming
    # Without a launch yet where those that serve are stopped first.
    return ChangeState(coming.state) if coming is not None else ChangeState.PENDING


def _launch_that_tells(row: Deployment, it: Replacement) -> Launch | None:
    """The launch whose state is that of the change."""
    match it.state:
        case ReplacementState.COMING:
            return row.coming
        case ReplacementState.ROLLING:
            return next(iter(row.retiring), None) or stuck_launch(row)
        case _:
            return None


def _is_before(row: Deployment, it: Replacement, launch: Launch) -> bool:
    """Whether a launch has processes that the change is to end."""
    if it.state is ReplacementState.FAILED or not launch.is_live:
        return False
    return launch is not row.coming and (it.under_way or launch.generation < row.generation)


class EstimateOut(BaseModel):
    """What a deploy would take."""

    model_config = example({
        "memory_needed": 41943040, "memory_available": 6442450944, "memory_total": 8589934592,
        "ports_free": 96, "options": Options(workers=2, retention_days=30.0).as_dict(),
        "defaults": Options(retention_days=30.0).as_dict(), "shortage": "",
    })  # fmt: skip

    memory_needed: int = Field(
        description="Bytes that the processes of all its replicas are expected to need: as last measured, "
        "else an estimate."
    )
    memory_available: int = Field(description="Bytes that new processes can take.")
    memory_total: int = Field(description="Bytes of the machine or container.")
    ports_free: int
    options: OptionsOut = Field(description="The options that it would have.")
    defaults: OptionsOut = Field(description="The options of a deploy that names none.")
    shortage: str = Field(description="Why memory has no room for it; empty if it has.")
