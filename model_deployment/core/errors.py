"""All errors this package raises on purpose, each with the HTTP status it is answered with.

Messages begin with "cannot", name the thing, and say what helps.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

_TYPES = "urn:model-deployment:problem:"


def problem_type(title: str) -> str:
    """The `type` of the problems with a title: a URI that programs compare, and that stays."""
    return _TYPES + re.sub("[^a-z]+", "-", title.lower())


class ModelDeploymentError(Exception):
    """The root. ``detail`` is shown to callers, so it holds no internals."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init_subclass__(cls, status: int | None = None, title: str | None = None) -> None:
        cls.status, cls.title = status or cls.status, title or cls.title

    def __init__(
        self, detail: str, *, retry_after: int | None = None, extra: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        #: Seconds after which trying again may help, for the ``Retry-After`` header.
        self.retry_after = retry_after
        #: Further members of the problem document (RFC 9457, section 3.2).
        self.extra: Mapping[str, Any] = extra or {}

    @property
    def headers(self) -> dict[str, str]:
        """Further headers of the answer."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    def problem(self) -> dict[str, Any]:
        """The problem document of RFC 9457; its media type is ``application/problem+json``."""
        return {
            "type": problem_type(self.title),
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.extra,
        }


class NonCanonicalPath(ModelDeploymentError, status=400, title="Path not canonical"):
    """The path is spelled in a way that two parsers could read differently."""


class DoubleHeader(ModelDeploymentError, status=400, title="Double header"):
    """A header that may appear only once appears twice."""


class IncompleteBody(ModelDeploymentError, status=400, title="Incomplete body"):
    """Less of the body arrived than its headers announce."""


class Unauthenticated(ModelDeploymentError, status=401, title="Unauthorized"):
    """No user name, or a wrong password. Answered with a challenge (RFC 9110, section 11.6.1)."""

    @property
    def headers(self) -> dict[str, str]:
        """With the challenge."""
        return super().headers | {
            "WWW-Authenticate": 'Basic realm="model_deployment", charset="UTF-8"'
        }


class Forbidden(ModelDeploymentError, status=403, title="Forbidden"):
    """The user's role does not allow the call."""


class CrossSite(Forbidden):
    """A browser was made to ask by a page of another site."""


class NotDeployed(ModelDeploymentError, status=404, title="Not deployed"):
    """No deployment has this key."""


class UnknownModel(ModelDeploymentError, status=404, title="Unknown model"):
    """The registry has no such model or version."""


class NotFound(ModelDeploymentError, status=404, title="Not found"):
    """The requested object does not exist, or no longer exists."""


class NoProject(NotFound, title="No project of flows"):
    """The controller is set to no project of flows."""


class UnknownProject(NotFound, title="Unknown project"):
    """There is no project of devices with this name."""


class UnknownDevice(NotFound, title="Unknown device"):
    """The project has no such device."""


class UnknownRelease(NotFound, title="Unknown release"):
    """The project has no release with this number."""


class MethodNotAllowed(ModelDeploymentError, status=405, title="Method not allowed"):
    """The path exists, but not with this method."""

    def __init__(self, detail: str, allowed: Iterable[str]) -> None:
        super().__init__(detail)
        self._allowed = ", ".join(sorted(allowed))

    @property
    def headers(self) -> dict[str, str]:
        """With the methods that are allowed."""
        return super().headers | {"Allow": self._allowed}


class BodyTimeout(ModelDeploymentError, status=408, title="Request timeout"):
    """The caller began to send a body, and stopped or was too slow."""

    @classmethod
    def of(cls, received: int) -> "BodyTimeout":
        """``received``: bytes of the body."""
        return cls(f"cannot wait for the body: only {received} bytes of it arrived in time")


class Conflict(ModelDeploymentError, status=409, title="Conflict"):
    """The request contradicts an earlier request."""


class PreconditionFailed(ModelDeploymentError, status=412, title="Precondition failed"):
    """The object is no longer as the caller's ``If-Match`` says (RFC 9110, section 13.1.1)."""


class PayloadTooLarge(ModelDeploymentError, status=413, title="Payload too large"):
    """The body is larger than the limit."""

    @classmethod
    def of(cls, limit: int, declared: int | None = None) -> "PayloadTooLarge":
        """How many bytes there are, where that is known, and how many there may be."""
        size = (
            "it is too large"
            if declared is None or declared <= limit
            else f"it has {declared} bytes"
        )
        return cls(
            f"cannot accept the body: {size}; the limit is {limit} bytes "
            f"(MODEL_DEPLOYMENT_MAX_BODY_BYTES). Send many rows in several requests; raise the limit "
            f"if a single row is larger"
        )


class UnsupportedMediaType(ModelDeploymentError, status=415, title="Unsupported media type"):
    """The body has a media type or a compression that no model reads."""


class Misdirected(ModelDeploymentError, status=421, title="Misdirected request"):
    """The `Host` header names another server."""


class InvalidRequest(ModelDeploymentError, status=422, title="Invalid request"):
    """The request is well-formed, but its content cannot be processed."""


class InvalidName(InvalidRequest, title="Invalid name"):
    """A model name or version that may not be deployed."""


class InvalidProject(InvalidRequest, title="Invalid project"):
    """The settings of a project of flows cannot be used."""


class UpgradeRequired(ModelDeploymentError, status=426, title="Upgrade required"):
    """The path is for WebSockets (RFC 9110, section 15.5.22)."""

    @property
    def headers(self) -> dict[str, str]:
        """With the protocol, and its version (RFC 6455, section 4.4)."""
        return super().headers | {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}


class TooBusy(ModelDeploymentError, status=429, title="Too busy"):
    """Too many requests are waiting for the model."""


class TooManyBodies(ModelDeploymentError, status=429, title="Too many bodies"):
    """The bodies and answers of all requests together take as many bytes as they may."""


class TooManyAttempts(ModelDeploymentError, status=429, title="Too many attempts"):
    """Too many enrolment codes from this address were not good."""


class DeployFailed(ModelDeploymentError, status=502, title="Deployment failed"):
    """The model process did not become ready, and the tries are used up."""


class ChangeFailed(ModelDeploymentError, status=502, title="Change failed"):
    """The new launch did not become ready; the launch before goes on with its options."""


class ModelBroke(ModelDeploymentError, status=502, title="Model process broke"):
    """The model process ended while it was answering."""


class ModelFailed(ModelDeploymentError, status=502, title="Model failed"):
    """The model raised an exception. The model's log has the exception; the answer does not."""


class OddAnswer(ModelFailed, title="Answer is no JSON"):
    """The model's answer cannot be written as JSON."""


class Unavailable(ModelDeploymentError, status=503, title="Unavailable"):
    """Temporarily unavailable; trying again may help."""


class NotReady(Unavailable, title="Not ready"):
    """Deployed, but not serving at the moment."""


class NotReached(NotReady):
    """The model process is gone, and nothing of the request has reached it."""


class NoFreePort(Unavailable, title="No free port"):
    """Every port of the range is in use."""


class CannotStart(Unavailable, title="Launches cannot be started"):
    """What starts such launches is missing, or does not answer."""


class RegistryUnavailable(Unavailable, title="Registry unavailable"):
    """The MLflow registry did not answer."""


class UpstreamTimeout(ModelDeploymentError, status=504, title="Model timed out"):
    """The model did not answer in time."""


class DiskFull(ModelDeploymentError, status=507, title="Disk full"):
    """The disk of the data directory is full."""


class NotEnoughMemory(ModelDeploymentError, status=507, title="Not enough memory"):
    """The model does not fit into the free memory."""

    @classmethod
    def of(cls, what: str, why: str) -> "NotEnoughMemory":
        """What cannot be done, and the figures."""
        return cls(
            f"cannot {what}: {why}. Undeploy a model, let models be parked (idle_timeout), or lower "
            f"MODEL_DEPLOYMENT_MEMORY_MARGIN (0 turns the check off)",
            retry_after=30,
        )


class InvalidSettings(ModelDeploymentError, title="Invalid settings"):
    """A setting has a value that cannot be used."""


class CredentialsError(ModelDeploymentError, title="Credentials unusable"):
    """The files with users and passwords cannot be used."""


class StateError(ModelDeploymentError, title="State database unusable"):
    """The state database cannot be used."""


class IllegalTransition(StateError):
    """A move the state machine does not have, or that somebody else made first."""


@contextmanager
def changed_meanwhile(what: str) -> Iterator[None]:
    """Answer a row that changed since it was read with a Conflict.

    Args:
        what: cannot be done, as ``pause release 3 of halls``.
    """
    try:
        yield
    except IllegalTransition as error:
        raise Conflict(
            f"cannot {what}: it has just changed; look at it, and try again", retry_after=1
        ) from error
