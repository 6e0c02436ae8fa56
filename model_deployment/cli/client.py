"""Calls a running controller over HTTP."""

from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx

from model_deployment.settings import Settings


class CallFailed(Exception):
    """The controller refused, or could not be reached; the message is for the user."""

    def __init__(self, message: str, problem: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.problem = problem or {}


class Client:
    """The calls that the command line makes of one controller.

    Every method raises :class:`CallFailed` with the reason that the controller gave.
    """

    def __init__(self, url: str, user: str = "", password: str = "") -> None:
        self.url = url.rstrip("/")
        try:
            self._http = httpx.Client(
                base_url=self.url,
                auth=(user, password) if user else None,
                timeout=httpx.Timeout(10, read=None),
                trust_env=False,  # the controller is near, not behind the site's HTTP proxy
            )
        except httpx.InvalidURL as error:
            raise CallFailed(
                f"cannot use {self.url} as the address of a controller: {error}. Write it like "
                "http://127.0.0.1:8000, or http://[::1]:8000"
            ) from error

    def deploy(
        self, model: str, version: str, options: dict[str, Any], wait: float
    ) -> dict[str, Any]:
        path = f"/deploy/{_segment(model)}/{_segment(version)}"
        return self._json("POST", path, params={"wait": wait}, json=options or None)

    def undeploy(self, name: str, wait: float) -> dict[str, Any]:
        return self._json("POST", f"/undeploy/{_segment(name)}", params={"wait": wait})

    def model(self, name: str) -> dict[str, Any]:
        return self._json("GET", f"/model/{_segment(name)}")

    def deployed(self, *, stopped: bool) -> list[dict[str, Any]]:
        answer = self._call("GET", "/get_deployed_models", params={"stopped": stopped})
        found: list[dict[str, Any]] = answer.json()
        return found

    def logs(self, name: str, lines: int) -> tuple[str, str]:
        """The id of the newest launch, and the end of its log."""
        answer = self._call("GET", f"/model/{_segment(name)}/logs", params={"lines": lines})
        return answer.headers.get("x-launch-id", ""), answer.text

    def predict(self, name: str, content: bytes, content_type: str) -> bytes:
        answer = self._call(
            "POST", f"/{_segment(name)}", content=content, headers={"Content-Type": content_type}
        )
        return answer.content

    def endpoints(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call("GET", "/endpoints").json()
        return found

    def endpoint(self, name: str) -> dict[str, Any]:
        return self._json("GET", _endpoint(name))

    def set_endpoint(self, name: str, policy: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """The endpoint as it is then, and whether it is new."""
        answer = self._call("PUT", _endpoint(name), json=policy)
        return answer.json(), answer.status_code == httpx.codes.CREATED

    def delete_endpoint(self, name: str, wait: float) -> None:
        self._call("DELETE", _endpoint(name), params={"wait": wait})

    def steer(self, name: str, order: str) -> dict[str, Any]:
        """``order``: promote, pause, resume or rollback."""
        return self._json("POST", f"{_endpoint(name)}/{order}")

    def comparison(self, name: str, rollout: int | None) -> dict[str, Any]:
        return self._json("GET", f"{_endpoint(name)}/comparison", params=_compared("json", rollout))

    def comparison_page(self, name: str, rollout: int | None) -> bytes:
        path = f"{_endpoint(name)}/comparison"
        return self._call("GET", path, params=_compared("html", rollout)).content

    def _json(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._call(method, path, **more).json()
        return found

    def _call(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **more)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CallFailed(
                f"cannot reach the controller at {self.url}: {error}. Start it with "
                "'model-deployment serve', or give the address of another controller with --url"
            ) from error
        if answer.is_success:
            return answer
        problem = _problem(answer)
        raise CallFailed(
            problem.get("detail") or f"the controller answered {answer.status_code}", problem
        )


def client_from(settings: Settings, url: str = "") -> Client:
    """A client of the controller in the settings, or of the one at ``url``, with the settings' password."""
    return Client(url or settings.client_url, settings.user, settings.password.get_secret_value())


def _problem(answer: httpx.Response) -> dict[str, Any]:
    with suppress(ValueError):
        found = answer.json()
        if isinstance(found, dict) and "detail" in found:
            return found
    return {"detail": answer.text[:2000]}


def _endpoint(name: str) -> str:
    return f"/endpoints/{_segment(name)}"


def _compared(format: str, rollout: int | None) -> dict[str, str | int]:
    return {"format": format} | ({} if rollout is None else {"rollout": rollout})


def _segment(text: str) -> str:
    return quote(text, safe="@")
