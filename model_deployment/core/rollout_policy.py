"""How a new version has to prove itself: the policy of an endpoint, and its defaults."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowPolicy:
    """How many live requests are copied, and for how long."""

    #: Percent of the requests, above 0 and at most 100.
    share: float = 20.0
    #: At least.
    minutes: float = 10.0
    #: Copies that were answered, at least.
    requests: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What is checked before a caller meets the candidate."""

    #: The candidate predicts its own input example.
    example: bool = True
    #: The candidate's gate accepts what callers send: the newest captured requests.
    signature: bool = True
    #: Captured requests that are sent to the candidate; 0 leaves the step out.
    replay: int = 500
    #: None leaves the step out.
    shadow: ShadowPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Which shares of the live requests the candidate answers, one after the other."""

    #: Percent, each above 0 and below 100, rising. None of them: the candidate is promoted at once.
    steps: tuple[float, ...] = (5.0, 25.0, 50.0)
    #: Of each step, at least.
    minutes: float = 5.0
    #: That the candidate answers in each step, at least.
    requests: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLimits:
    """What rolls a candidate back."""

    #: It fails more requests than the champion.
    errors: bool = True
    #: In the canary, more of its answers than of the champion's take longer than the champion's 95th
    #: percentile times this factor; 0: off.
    latency: float = 1.5
    #: Its error in the metric is larger by more than this share of the champion's; 0: off.
    quality: float = 0.05
    #: In the replay, its predictions move by more than the champion's own spread.
    predictions: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """The policy of an endpoint."""

    #: Deploy options, as in ``POST /deploy``, for the versions that the endpoint deploys.
    options: Mapping[str, Any] = field(default_factory=dict)
    checks: Checks = Checks()
    canary: Canary = Canary()
    guard: GuardLimits = GuardLimits()
    #: Seconds that the previous champion is kept ready.
    keep_previous: float = 3600.0
    #: Where memory has no room for both versions: stop the champion first, and let callers wait.
    recreate: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        found = asdict(self)
        found["canary"]["steps"] = [*self.canary.steps]
        return found

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`as_dict`; members that are missing have their defaults.

        Raises:
            TypeError, ValueError: it is no policy.
        """
        members = dict(saved)
        if "checks" in members:
            checks = dict(members["checks"])
            if checks.get("shadow") is not None:
                checks["shadow"] = ShadowPolicy(**checks["shadow"])
            members["checks"] = Checks(**checks)
        if "canary" in members:
            canary = dict(members["canary"])
            if "steps" in canary:
                canary["steps"] = tuple(canary["steps"])
            members["canary"] = Canary(**canary)
        if "guard" in members:
            members["guard"] = GuardLimits(**members["guard"])
        return cls(**members)
