"""The body of an answer about two versions that were compared in a rollout."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from model_deployment.api.examples import example

_ARM = {
    "requests": 1000, "failed": 2, "failures": {"model": 2}, "error_rate": 0.002,
    "error_interval": [0.0005, 0.007], "p50_ms": 2.1, "p95_ms": 4.8,
}  # fmt: skip
_STAGE = {
    "champion": _ARM, "candidate": _ARM, "candidate_only": 1, "champion_only": 1, "dropped": 0,
    "predictions": None,
    "quality": {"metric": "rmse", "champion": 61.2, "candidate": 60.8},
}  # fmt: skip


class ComparisonOut(BaseModel):
    """Champion against candidate. A stage is null if there was none; its figures are those of both."""

    model_config = example({
        "verdict": "promoted", "reason": "all steps passed", "endpoint": "diabetes@champion", "rollout": 7,
        "champion": 1, "candidate": 2, "state": "promoted", "started_at": "2026-01-31T12:00:00Z",
        "ended_at": "2026-01-31T13:00:00Z", "note": "",
        "check": {"outcome": "passed", "reason": "the example is predicted", "figures": {}},
        "replay": None, "shadow": None, "canary": _STAGE, "canary_steps": [{"stage": "0", **_STAGE}],
    })  # fmt: skip

    verdict: Literal["promoted", "rolled_back", "superseded", "undecided"]
    reason: str
    endpoint: str
    rollout: int
    champion: int | None
    candidate: int
    state: str
    started_at: datetime
    ended_at: datetime | None
    note: str = Field(description="What is missing, and why; else empty.")
    check: dict[str, Any] | None
    replay: dict[str, Any] | None
    shadow: dict[str, Any] | None
    canary: dict[str, Any] | None = Field(description="All canary steps together.")
    canary_steps: list[dict[str, Any]]
