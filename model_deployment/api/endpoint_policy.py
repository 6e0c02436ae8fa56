"""The body of a call that makes an endpoint or changes it: its policy."""

from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from model_deployment.api.options import DeployOptions
from model_deployment.core import rollout_policy as policy
from model_deployment.core import units

#: Minutes and seconds that a step, or the previous champion, may be given.
_LONGEST_MINUTES, _LONGEST_SECONDS = 30 * 24 * 60, 366 * 86400
_MOST_REQUESTS = 1_000_000
_MOST_REPLAYED = 10_000
_MOST_STEPS = 20
_CHECKS, _CANARY, _GUARD, _SHADOW, _POLICY = (
    policy.Checks(),
    policy.Canary(),
    policy.GuardLimits(),
    policy.ShadowPolicy(),
    policy.RolloutPolicy(),
)


def _text(unit: str, longest: float, pattern: str) -> BeforeValidator:
    """Accepts text like ``30m`` in the place of a number."""
    number = Annotated[float, Field(ge=0, le=longest)]
    text = Annotated[str, Field(pattern=pattern)]

    def read(value: Any) -> Any:
        return units.duration(value, unit) if isinstance(value, str) else value

    return BeforeValidator(read, json_schema_input_type=number | text)


def _rising(steps: list[float]) -> list[float]:
    for before, after in pairwise(steps):
        if after <= before:
            raise ValueError(
                f"each step must be larger than the one before, got {after:g} after {before:g}"
            )
    return steps


def _off_or_a_factor(value: float) -> float:
    if 0 < value < 1:
        raise ValueError(f"it must be 0 (off) or a factor of at least 1, got {value:g}")
    return value


Minutes = Annotated[
    float,
    Field(strict=True, ge=0, le=_LONGEST_MINUTES),
    _text("m", _LONGEST_MINUTES, "^[0-9]{1,2}[mh]$"),
]
Seconds = Annotated[
    float,
    Field(strict=True, ge=0, le=_LONGEST_SECONDS),
    _text("s", _LONGEST_SECONDS, "^[0-9]{1,3}[smh]$"),
]
Flag = Annotated[bool, Field(strict=True)]
Requests = Annotated[int, Field(strict=True, ge=1, le=_MOST_REQUESTS)]
Percent = Annotated[float, Field(strict=True, gt=0, lt=100)]
Factor = Annotated[float, Field(strict=True, ge=0, le=100), AfterValidator(_off_or_a_factor)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ShadowIn(_Part):
    """How many live requests are copied to the candidate, and for how long."""

    share: Annotated[float, Field(strict=True, gt=0, le=100)] = Field(
        _SHADOW.share, description="Percent of the live requests that are copied."
    )
    minutes: Minutes = Field(
        _SHADOW.minutes, description="At least so long. Text like `10m` is accepted as well."
    )
    requests: Requests = Field(
        _SHADOW.requests, description="Copies that the candidate answered, at least."
    )


class ChecksIn(_Part):
    """What is checked before a caller meets the candidate."""

    example: Flag = Field(
        _CHECKS.example, description="The candidate predicts its own input example."
    )
    signature: Flag = Field(
        _CHECKS.signature,
        description="The candidate's signature accepts the newest captured requests.",
    )
    replay: Annotated[int, Field(strict=True, ge=0, le=_MOST_REPLAYED)] = Field(
        _CHECKS.replay,
        description="Captured requests that are sent to the candidate, whose answers are compared; 0 "
        "leaves the step out.",
    )
    shadow: ShadowIn | None = Field(
        None, description="Copies of live requests for the candidate; null leaves the step out."
    )


class CanaryIn(_Part):
    """Which shares of the live requests the candidate answers, one after the other."""

    steps: Annotated[list[Percent], AfterValidator(_rising)] = Field(
        [*_CANARY.steps],
        max_length=_MOST_STEPS,
        description="Percent, each above 0 and below 100, rising. An empty list promotes the candidate "
        "without a canary.",
    )
    minutes: Minutes = Field(
        _CANARY.minutes, description="Of each step, at least. Text like `5m` is accepted as well."
    )
    requests: Requests = Field(
        _CANARY.requests, description="Requests that the candidate answers in each step, at least."
    )


class GuardIn(_Part):
    """What rolls a candidate back."""

    errors: Flag = Field(_GUARD.errors, description="It fails more requests than the champion.")
    latency: Factor = Field(
        _GUARD.latency,
        description="During the canary, more of its answers than of the champion's take longer than the "
        "champion's 95th percentile times this factor; 0 turns the guard off.",
    )
    quality: Annotated[float, Field(strict=True, ge=0, le=10)] = Field(
        _GUARD.quality,
        description="Its error, where labels are known, is larger by more than this share of the "
        "champion's; 0 turns the guard off.",
    )
    predictions: Flag = Field(
        _GUARD.predictions,
        description="In the replay, its predictions move by more than the champion's own spread.",
    )


class PolicyIn(_Part):
    """How new versions have to prove themselves; a member that is left out takes the default."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "options": {"workers": 2, "idle_timeout": "12h"},
                    "checks": {"replay": 500, "shadow": {"share": 20, "minutes": "10m"}},
                    "canary": {"steps": [5, 25, 50], "minutes": 5},
                    "guard": {"latency": 1.5, "quality": 0.05},
                    "keep_previous": "1h",
                }
            ]
        }
    )

    options: DeployOptions = Field(
        default_factory=DeployOptions,
        description="Of the deployments that the endpoint makes, as in `POST /deploy`.",
    )
    checks: ChecksIn = ChecksIn()
    canary: CanaryIn = CanaryIn()
    guard: GuardIn = GuardIn()
    keep_previous: Seconds = Field(
        _POLICY.keep_previous,
        description="Seconds that the previous champion is kept ready. Text like `1h` is accepted as "
        "well.",
    )
    recreate: Flag = Field(
        _POLICY.recreate,
        description="Where memory has no room for both versions, stop the champion first and let callers "
        "wait.",
    )

    def policy(self) -> dict[str, Any]:
        """As :meth:`RolloutPolicy.from_dict` takes it."""
        members = self.model_dump(mode="json", exclude={"options"})
        return {"options": self.options.model_dump(mode="json", exclude_none=True), **members}
