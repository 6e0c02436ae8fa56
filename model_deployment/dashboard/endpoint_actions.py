"""What an operator may do with an endpoint now, and what it would do, in words. Pure."""

from model_deployment.core.domain import State
from model_deployment.core.endpoints import Order, RolloutState
from model_deployment.endpoints.views import EndpointView
from model_deployment.rendering import numbers


class Actions:
    def __init__(self, view: EndpointView) -> None:
        self._endpoint = view.endpoint
        self._newest = view.rollout
        self._rollout = view.rollout if view.rollout and view.rollout.active else None
        self._states = {one.version: one.state for one in view.versions}

    @property
    def allowed(self) -> list[str]:
        """The names of calls of the API."""
        rollout = self._rollout
        if rollout is None:
            ended = ["promote", "resume"] if self.candidate is not None else []
            return [*ended, *(["rollback"] if self._back is not None else [])]
        if rollout.order in (Order.PROMOTE, Order.ROLL_BACK):
            return []
        ready = self._states.get(rollout.candidate) is State.READY
        paused = rollout.order is Order.PAUSE
        return [*(["promote"] if ready else []), "resume" if paused else "pause", "rollback"]

    @property
    def candidate(self) -> int | None:
        """The version that can become the champion: of the rollout, else the one that the alias names."""
        if self._rollout is not None:
            return self._rollout.candidate
        named = self._endpoint.alias_version
        return None if named == self._endpoint.champion else named

    @property
    def resume(self) -> str:
        """What to call it."""
        return "Resume" if self._rollout is not None else "Try again"

    @property
    def promote(self) -> str:
        """What a promotion does; empty if it is not possible."""
        if "promote" not in self.allowed:
            return ""
        if self._rollout is None:
            text = (
                f"Version {self.candidate} is deployed, and answers all requests when it is ready."
            )
        else:
            text = (
                f"Version {self.candidate} answers all requests at once, whatever its rollout still "
                "waits for."
            )
        kept = numbers.duration(self._endpoint.policy.keep_previous)
        return text + self._served(f" Version {{}} is kept ready for {kept}.")

    @property
    def rollback(self) -> str:
        """What a rollback does; empty if it is not possible."""
        if "rollback" not in self.allowed:
            return ""
        if self._rollout is not None:
            text = f"Version {self.candidate} gets no more requests."
            text += self._served(" Version {} answers all of them.")
        else:
            text = f"Version {self._back} answers all requests at once."
            text += self._served(" Version {} gets no more of them.")
        return f"{text} The alias in the registry stays as it is."

    @property
    def _back(self) -> int | None:
        """The version that a rollback returns to when no rollout is under way."""
        newest = self._newest
        if newest is None or newest.state is not RolloutState.PROMOTED:
            return None
        return newest.champion

    def _served(self, text: str) -> str:
        champion = self._endpoint.champion
        return "" if champion is None else text.format(champion)
