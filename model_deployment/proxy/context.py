"""What all exchanges share: the limits for callers, and who is told of each request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from model_deployment.core.names import ModelKey
from model_deployment.core.routes import Route
from model_deployment.proxy.held_bytes import HeldBytes, HeldKind, Holding, Pace
from model_deployment.proxy.work_turns import WorkTurns
from model_deployment.recording.model_errors import Failure


class RequestRecorder(Protocol):
    """Records requests. Each method takes microseconds and raises nothing."""

    def predicted(
        self,
        route: Route,
        request_id: str,
        media_type: str,
        body: bytes,
        answer: bytes | Callable[[], bytes],
        rows: int,
        seconds: float,
        endpoint: str = "",
        unkept: int = 0,
        launch_id: str | None = None,
    ) -> None:
        """A prediction is about to be sent to its caller, behind the next :meth:`flush`.

        Args:
            answer: the prediction, or what makes it: called only if it is captured.
            endpoint: the endpoint that the request named; empty if it named the deployment.
            unkept: bytes of an answer that nobody has kept, so that it is recorded without bodies.
            launch_id: the launch that answered.
        """

    def shadowed(
        self,
        route: Route,
        rollout: int,
        request_id: str,
        answer: bytes,
        status: int,
        seconds: float,
        launch_id: str | None = None,
    ) -> None:
        """A candidate has answered a copy of a request.

        Args:
            request_id: of the request.
            status: 200, or what its caller would have been told instead.
            launch_id: the launch that answered.
        """

    def flush(self) -> None:
        """Write the captures of the predictions so far: their answers are sent next."""

    def relayed(self, key: ModelKey, seconds: float) -> None:
        """An answer that is not JSON was passed on."""

    def failed(self, key: ModelKey, status: int) -> None:
        """A request is answered with an error."""

    def broke(self, route: Route, failure: Failure) -> None:
        """A request got no prediction, which is not its caller's fault."""

    def violated(
        self, key: ModelKey, tally: Mapping[tuple[str, str], int], *, passed: bool = False
    ) -> None:
        """A request violates the signature; ``passed`` if the model gets it all the same."""


@dataclass(frozen=True, slots=True)
class ExchangeContext:
    """The same for all callers and deployments."""

    max_body_bytes: int
    #: Seconds a caller may send nothing of its body, or accept nothing of its answer.
    caller_timeout: float = 30.0
    #: Seconds that a whole body may take, and one more for each :data:`held_bytes.SLOWEST` bytes of it.
    body_timeout: float = 60.0
    held: HeldBytes = field(default_factory=HeldBytes.unshared)
    work_turns: WorkTurns = field(default_factory=WorkTurns)
    recorder: RequestRecorder | None = None
    #: Writes a text to the log of a launch: what failed inside its model.
    log_failure: Callable[[str, str], None] = lambda launch_id, text: None

    def hold(self, kind: HeldKind) -> Holding:
        """What counts the bytes of a request."""
        return Holding(self.held, kind)

    def pace(self, holding: Holding) -> Pace:
        """How slow the caller of a body may be that begins now."""
        return Pace(self.caller_timeout, self.body_timeout, holding)
