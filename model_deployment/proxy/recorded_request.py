"""One request for a model, as it is recorded: what became of it, and when."""

from collections.abc import Callable
from time import monotonic

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.gate import CheckResult
from model_deployment.proxy.answers import AnswerError
from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.route_entry import RouteEntry
from model_deployment.proxy.service import ServiceTarget
from model_deployment.proxy.validate import Validated
from model_deployment.recording.model_errors import Failure


class RecordedRequest:
    """Tells the recorder of one request."""

    #: The endpoint that was asked; empty if it was the deployment itself.
    endpoint = ""

    def __init__(self, context: ExchangeContext, entry: RouteEntry, request: CallerRequest) -> None:
        self._context = context
        self._entry = entry
        self._request = request
        self._began = monotonic()
        self._media_type = b""
        #: The launch that is asked.
        self._target: ServiceTarget | None = None
        #: What the model server said of the failure, where it said something.
        self._server_error: AnswerError | None = None

    def _record_violations(self, result: CheckResult) -> None:
        self._entry.counts.count_check(result)
        if self._context.recorder:
            key = self._entry.route.key
            self._context.recorder.violated(key, result.tally, passed=not result.refused)

    def _record_relayed(self) -> None:
        if self._context.recorder:
            self._context.recorder.relayed(self._entry.route.key, monotonic() - self._began)

    def _record_prediction(
        self, validated: Validated, content: bytes | Callable[[], bytes], unkept: int = 0
    ) -> None:
        """Record the prediction before the caller knows it.

        Args:
            unkept: bytes of an answer that was too long to be kept.
        """
        if self._context.recorder:
            self._context.recorder.predicted(
                self._entry.route,
                self._request.request_id.decode("ascii"),
                self._media_type.decode("ascii"),
                validated.content,
                content,
                validated.result.rows or 0,
                monotonic() - self._began,
                self.endpoint,
                unkept,
                self._launch_id,
            )

    def _record_failure(self, status: int) -> None:
        if self._context.recorder:
            self._context.recorder.failed(self._entry.route.key, status)

    def _record_error(self, error: ModelDeploymentError) -> None:
        """Record why there is no prediction, for operators."""
        if self._context.recorder:
            told = self._server_error or AnswerError(error)
            self._context.recorder.broke(
                self._entry.route,
                Failure(
                    self._request.request_id.decode("ascii"),
                    error.status,
                    self._launch_id,
                    error.title,
                    error.detail,
                    told.traceback,
                    told.message,
                ),
            )

    @property
    def _launch_id(self) -> str | None:
        return self._target.upstream.launch_id if self._target else None

    def _log_fields(self) -> dict[str, object]:
        route = self._entry.route
        return {
            "model": route.key.model,
            "version": route.key.version,
            "launch_id": self._launch_id,
            "request_id": self._request.request_id.decode("ascii"),
        }
