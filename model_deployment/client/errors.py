"""What a call of the client may raise."""

from collections.abc import Mapping
from typing import Any

#: Places of a problem that a traceback shows.
_SHOWN = 10


class ClientError(Exception):
    """The root of the client's errors. The message says what failed, why, and what helps."""


class BadAddress(ClientError, ValueError):
    """The text is not the address of a controller."""


class Unsendable(ClientError, ValueError):
    """The input cannot be written as a request; nothing was sent."""


class Unreachable(ClientError):
    """No answer came: the connection could not be made, or ended early."""


class ApiError(ClientError):
    """The controller refused the call, or failed (RFC 9457 has the members of a problem).

    Attributes:
        status: HTTP status.
        title: the kind of problem, in words.
        detail: why, and what helps.
        type: URI of the kind of problem; ``about:blank`` if the answer named none.
        errors: where a request does not fit the signature, and why; else empty.
        request_id: ``X-Request-Id`` of the answer, under which logs have the call.
        retry_after: seconds after which trying again may help; None if the answer named none.
        problem: the whole document, with members such as ``reason``, ``advice`` and ``log``.
    """

    def __init__(
        self,
        status: int,
        problem: dict[str, Any],
        *,
        request_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        self.status = status
        self.problem = problem
        self.title = str(problem.get("title", ""))
        self.detail = str(problem.get("detail", ""))
        self.type = str(problem.get("type", "about:blank"))
        self.errors: list[dict[str, Any]] = list(problem.get("errors") or [])
        self.request_id = request_id
        self.retry_after = retry_after
        super().__init__(self.detail or f"the controller answered {status}")
        # A traceback shows notes: what the detail has no room for.
        for place in self.places[1:_SHOWN]:
            self.add_note(place)
        if log := problem.get("log"):
            self.add_note("the end of the model's log:\n" + "\n".join(map(str, log)))

    @property
    def places(self) -> list[str]:
        """``errors`` as text, one for each place where a request does not fit."""
        return [_place(one) for one in self.errors]

    def __reduce__(self) -> tuple[Any, ...]:
        return _api_error, (self.status, self.problem, self.request_id, self.retry_after)


def _place(error: Mapping[str, Any]) -> str:
    if "expected" not in error:
        said = str(error.get("problem") or dict(error))
        return f"{error['field']}: {said}" if "field" in error else said
    names = [f"{kind} {error[kind]!r}" for kind in ("row", "column") if error.get(kind) is not None]
    said = f"expected {error['expected']}, got {error.get('got')}"
    return f"{', '.join(names)}: {said}" if names else said


def _api_error(
    status: int, problem: dict[str, Any], request_id: str, retry_after: float | None
) -> ApiError:
    return ApiError(status, problem, request_id=request_id, retry_after=retry_after)


class StreamFailed(ClientError):
    """The model failed after its answer had begun; the events before are whole.

    Attributes:
        error: what the last event says.
    """

    def __init__(self, error: Any) -> None:
        self.error = error
        text = error.get("message") if isinstance(error, dict) else error
        super().__init__(f"the model failed while it was answering: {text}")


class RunUnfinished(ClientError):
    """A run of a flow has not ended yet.

    Attributes:
        id: of the run.
    """

    def __init__(self, flow: str, id: str) -> None:
        self.id = id
        super().__init__(f"the run {id} of {flow} has not ended; wait longer, or ask for it again")


class Unfinished(ClientError):
    """A report is still being made.

    Attributes:
        id: of the report; asking for the report with this id waits for it again.
    """

    def __init__(self, name: str, id: str) -> None:
        self.id = id
        super().__init__(
            f"the report {id} of {name} is not finished; ask again with id={id!r}, or wait longer"
        )
