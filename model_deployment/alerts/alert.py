"""What an operator is told: something has gone bad, or has recovered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from model_deployment.core.names import ModelKey


class AlertKind(StrEnum):
    DEPLOYMENT_FAILED = "deployment_failed"
    DEPLOYMENT_RECOVERED = "deployment_recovered"
    #: The verdict of a report is more severe than the one before.
    VERDICT_WORSE = "verdict_worse"
    #: The verdict of a report is `ok` after a severe one.
    VERDICT_RECOVERED = "verdict_recovered"
    #: A large share of the requests does not fit the model.
    REQUESTS_REFUSED = "requests_refused"
    ROLLOUT_PROMOTED = "rollout_promoted"
    ROLLOUT_ROLLED_BACK = "rollout_rolled_back"
    ROLLOUT_SUPERSEDED = "rollout_superseded"
    #: Too few devices can run a release, or it cannot be prepared.
    RELEASE_STOPPED = "release_stopped"
    RELEASE_COMPLETE = "release_complete"
    FLOW_RUN_FAILED = "flow_run_failed"
    #: A run of a flow has completed after one that had failed.
    FLOW_RUN_COMPLETED = "flow_run_completed"


#: What each good news ends.
ENDS = {
    AlertKind.DEPLOYMENT_RECOVERED: AlertKind.DEPLOYMENT_FAILED,
    AlertKind.VERDICT_RECOVERED: AlertKind.VERDICT_WORSE,
    AlertKind.ROLLOUT_PROMOTED: AlertKind.ROLLOUT_ROLLED_BACK,
    AlertKind.ROLLOUT_SUPERSEDED: AlertKind.ROLLOUT_ROLLED_BACK,
    AlertKind.RELEASE_COMPLETE: AlertKind.RELEASE_STOPPED,
    AlertKind.FLOW_RUN_COMPLETED: AlertKind.FLOW_RUN_FAILED,
}


@dataclass(frozen=True, slots=True)
class Alert:
    kind: AlertKind
    #: None: it is about no version of a model.
    key: ModelKey | None
    #: One line that names what it is about.
    summary: str
    reason: str = ""
    #: What is known beside that, JSON-ready.
    details: Mapping[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def is_good(self) -> bool:
        return self.kind in ENDS
