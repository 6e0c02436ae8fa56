"""What programs on the device may call: ``POST /invocations``, ``GET /health``, ``GET /status``."""

from collections.abc import Callable
from typing import Any

from model_deployment_agent import prediction_input
from model_deployment_agent.errors import BadInput, ModelFailed
from model_deployment_agent.http_server import LocalAnswer, LocalRequest, Problem
from model_deployment_agent.serving import NotServing, Serving

#: Names of this device. A page in a browser of the device that calls it under another name is not answered:
#: its owner may let that name point here (DNS rebinding).
_NAMES = {"localhost", "127.0.0.1", "[::1]"}


class LocalApi:
    """Answers calls; ``status`` gives what ``GET /status`` says."""

    def __init__(self, serving: Serving, status: Callable[[], dict[str, Any]]) -> None:
        self._serving = serving
        self._status = status

    async def handle(self, request: LocalRequest) -> LocalAnswer:
        """Answer a call.

        Raises:
            Problem: as problem JSON says.
        """
        host = request.headers.get("host", "").rpartition(":")
        name = host[0] if host[2].isdigit() and host[0] else request.headers.get("host", "")
        if name.lower() not in _NAMES:
            raise Problem(
                421, f"cannot answer for the host {name[:100]!a}: call 127.0.0.1 or localhost"
            )
        match request.method, request.path:
            case "POST", "/invocations":
                return await self._predict(request)
            case "GET", "/health":
                return self._health()
            case "GET", "/status":
                return LocalAnswer(200, self._status())
            case _, "/invocations" | "/health" | "/status" as path:
                raise Problem(405, f"cannot {request.method[:20]} {path}")
        raise Problem(404, "there are POST /invocations, GET /health and GET /status")

    def _health(self) -> LocalAnswer:
        active = self._serving.active
        if active is None:
            raise Problem(503, "the model is not running")
        return LocalAnswer(200, {"status": "ok", "release": active.manifest.number})

    async def _predict(self, request: LocalRequest) -> LocalAnswer:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Problem(
                415, "cannot read the request: its Content-Type has to be application/json"
            )
        try:
            manifest, predictions = await self._serving.predict(
                prediction_input.parse(request.body)
            )
        except BadInput as error:
            raise Problem(400, str(error)) from error
        except NotServing as error:
            raise Problem(503, str(error)) from error
        except ModelFailed as error:
            raise Problem(500, f"cannot predict: {error}") from error
        headers = {"X-Release": str(manifest.number), "X-Model-Version": str(manifest.version)}
        return LocalAnswer(200, {"predictions": predictions}, headers)
