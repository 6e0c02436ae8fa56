"""Kinds of requests without a prediction, by the status of their answer. Pure."""

from collections.abc import Mapping

_KINDS = {
    400: "malformed", 408: "caller_slow", 413: "too_large", 415: "media_type", 422: "refused",
    429: "too_busy", 502: "model_failed", 503: "not_ready", 504: "timeout",
}  # fmt: skip
_OTHER = "internal"
KINDS = (*_KINDS.values(), _OTHER)
#: Kinds of requests that the model never sees, since they do not fit it.
REFUSED = frozenset({"malformed", "too_large", "media_type", "refused"})
#: Kinds with a status of 400 to 499: the caller has to change something. All others are the model's.
OF_CALLERS = frozenset(kind for status, kind in _KINDS.items() if status < 500)


def kind_of(status: int) -> str:
    """The kind of a request without a prediction, by the status of its answer."""
    return _KINDS.get(status, _OTHER)


def caller_errors(errors: Mapping[str, int]) -> int:
    """How many of the errors, counted by kind, are the callers'."""
    return sum(count for kind, count in errors.items() if kind in OF_CALLERS)


def model_errors(errors: Mapping[str, int]) -> int:
    """How many of the errors, counted by kind, are the model's."""
    return sum(count for kind, count in errors.items() if kind not in OF_CALLERS)
