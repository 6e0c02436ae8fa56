"""The calls that make endpoints, show them, and steer their rollouts."""

from typing import Literal, get_args

from model_deployment.client.answers import (
    Comparison,
    Endpoint,
    EndpointDetail,
    ModelInfo,
    PolicyIn,
    Rollout,
    RolloutEvent,
    SetModel,
)
from model_deployment.client.exchange import path
from model_deployment.client.sync.connection import Connection

Steering = Literal["promote", "pause", "resume", "rollback"]


class Endpoints(Connection):
    """Endpoints. ``name`` is ``<model>@<alias>``."""

    def endpoints(self, *, model: str | None = None, limit: int | None = None) -> list[Endpoint]:
        """All endpoints, or those of a model."""
        found: list[Endpoint] = self.items("/endpoints", {"model": model}, limit)
        return found

    def endpoint(self, name: str) -> EndpointDetail:
        """What an endpoint serves, what is on its way, and why."""
        found: EndpointDetail = self.data("GET", path("/endpoints/{}", name))
        return found

    def set_endpoint(self, name: str, policy: PolicyIn | None = None) -> Endpoint:
        """Make an endpoint, or replace its policy; what a policy leaves out takes the default.

        Raises:
            ApiError: 404 the registry has no such model or alias; 422 the policy cannot be used.
        """
        return (self.put_endpoint(name, policy))[0]

    def put_endpoint(self, name: str, policy: PolicyIn | None = None) -> tuple[Endpoint, bool]:
        """As :meth:`set_endpoint`; and whether the endpoint is new."""
        answer = self.request("PUT", path("/endpoints/{}", name), json=policy or None)
        return answer.json(), answer.status_code == 201

    def delete_endpoint(self, name: str, *, wait: float = 60.0) -> None:
        """Delete an endpoint, and undeploy what it alone asked for."""
        self.request("DELETE", path("/endpoints/{}", name), params={"wait": wait}, wait=wait)

    def promote(self, name: str) -> Endpoint:
        """Make the candidate the champion now.

        Raises:
            ApiError: 409 there is no candidate, or it is not ready.
        """
        return self.steer(name, "promote")

    def pause(self, name: str) -> Endpoint:
        """Keep a rollout where it is."""
        return self.steer(name, "pause")

    def resume(self, name: str) -> Endpoint:
        """Let a paused rollout go on, or try the alias's version again."""
        return self.steer(name, "resume")

    def rollback(self, name: str) -> Endpoint:
        """Go back to the champion, or without a rollout to the previous one."""
        return self.steer(name, "rollback")

    def steer(self, name: str, order: Steering) -> Endpoint:
        """``promote``, ``pause``, ``resume`` or ``rollback``, by name."""
        if order not in get_args(Steering):
            raise ValueError(f"cannot {order} an endpoint: choose one of {get_args(Steering)}")
        found: Endpoint = self.data("POST", path(f"/endpoints/{{}}/{order}", name))
        return found

    def rollouts(self, name: str, *, limit: int = 100) -> list[Rollout]:
        """Rollouts of an endpoint, newest first."""
        found: list[Rollout] = self.data(
            "GET", path("/endpoints/{}/rollouts", name), params={"limit": limit}
        )
        return found

    def endpoint_events(self, name: str, *, limit: int = 100) -> list[RolloutEvent]:
        """What happened to an endpoint, newest first."""
        found: list[RolloutEvent] = self.data(
            "GET", path("/endpoints/{}/events", name), params={"limit": limit}
        )
        return found

    def comparison(self, name: str, *, rollout: int | None = None) -> Comparison:
        """Champion against candidate, of the newest rollout or of the one with this id."""
        params = {"format": "json", "rollout": rollout}
        found: Comparison = self.data("GET", path("/endpoints/{}/comparison", name), params=params)
        return found

    def comparison_page(self, name: str, *, rollout: int | None = None) -> bytes:
        """The comparison as an HTML page."""
        params = {"format": "html", "rollout": rollout}
        where = path("/endpoints/{}/comparison", name)
        return (self.request("GET", where, params=params)).content

    def set_default(self, alias: str, *, model: str | None = None, wait: float = 60.0) -> SetModel:
        """Make an endpoint the default one, which answers at ``/<model>``, and wait until it serves."""
        body = {"alias": alias} | ({} if model is None else {"model": model})
        found: SetModel = self.data(
            "POST", "/set_model", params={"wait": wait}, json=body, wait=wait
        )
        return found

    def model_info(self, model: str | None = None, alias: str | None = None) -> ModelInfo:
        """The version that an endpoint serves now; by default, the default endpoint."""
        params = {"model": model, "alias": alias}
        found: ModelInfo = self.data("GET", "/model_info", params=params)
        return found
