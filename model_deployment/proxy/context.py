"""What all requests for models have in common: what callers may do, and who is told of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from model_deployment.core.domain import Route
from model_deployment.core.names import ModelKey


class Recorder(Protocol):
    """What is told of requests. Its methods take microseconds, and raise nothing."""

    def predicted(
        self,
        route: Route,
        request_id: str,
        media_type: str,
        body: bytes,
        answer: bytes,
        rows: int,
        seconds: float,
    ) -> None:
        """A prediction is about to be sent."""
        ...

    def relayed(self, key: ModelKey, seconds: float) -> None:
        """An answer that is no JSON was passed on."""
        ...

    def failed(self, key: ModelKey, status: int) -> None:
        """A request gets no prediction."""
        ...

    def violated(
        self, key: ModelKey, tally: Mapping[tuple[str, str], int], *, passed: bool = False
    ) -> None:
        """A request does not fit the signature; it may go to the model all the same."""
        ...


@dataclass(frozen=True, slots=True)
class ExchangeContext:
    """What callers may do, the same for all of them."""

    max_body_bytes: int
    #: Seconds a caller may send nothing, or take nothing of an answer.
    patience: float = 30.0
    #: Told of each request.
    recorder: Recorder | None = None
    #: Told what went wrong inside a model: the launch, and the text for its log.
    trace: Callable[[str, str], None] = lambda launch_id, text: None
