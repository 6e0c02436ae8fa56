"""All errors this package raises on purpose, each with the HTTP status it is answered with.

::

    ModelDeploymentError (500)
    ├── NonCanonicalPath (400)     the path is not its own canonical encoding
    ├── DoubleHeader (400)         a header is there twice
    ├── IncompleteBody (400)       less of the body came than its headers announce
    ├── Unauthenticated (401)      no user's name and password
    ├── Forbidden (403)            the user may not do this
    │   └── CrossSite (403)        a page of another site asks
    ├── NotDeployed (404)          no such deployment
    ├── UnknownModel (404)         the registry has no such model or version
    ├── NotFound (404)             no such report, no such data
    ├── MethodNotAllowed (405)     not with this method
    ├── Conflict (409)             another wish stands in the way
    ├── PayloadTooLarge (413)      the body is over the limit
    ├── UnsupportedMediaType (415) the body is of a kind no model reads
    ├── Misdirected (421)          the Host header names another server
    ├── InvalidRequest (422)       the request says something we cannot do
    │   └── InvalidName (422)      a model name or version that may not be deployed
    ├── TooBusy (429)              more requests for one model than may wait
    ├── DeployFailed (502)         the model process did not become ready
    ├── ModelBroke (502)           the model process broke off while answering
    ├── ModelFailed (502)          the model itself raised an exception
    │   └── OddAnswer (502)        the model's answer is nothing that JSON can hold
    ├── Unavailable (503)          try again later
    │   ├── NotReady (503)         deployed, but not serving at the moment
    │   │   └── NotReached (503)   its process is gone, and has seen nothing of the request
    │   ├── NoFreePort (503)       every port of the range is in use
    │   └── RegistryUnavailable (503)
    ├── UpstreamTimeout (504)      the model did not answer in time
    ├── DiskFull (507)             no room on the disk of the data directory
    ├── NotEnoughMemory (507)      one more model would not fit into free memory
    ├── InvalidSettings (500)      a setting that cannot be used
    ├── CredentialsError (500)     the users' files cannot be used
    └── StateError (500)           the state database cannot be used
        └── IllegalTransition (500)

Messages begin with "cannot", name the thing, and say what helps.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


class ModelDeploymentError(Exception):
    """The root. ``detail`` is shown to callers, so it holds no internals."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

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
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.extra,
        }


class NonCanonicalPath(ModelDeploymentError):
    """The path is spelled in a way that two parsers could read differently."""

    status = 400
    title = "Path not canonical"


class DoubleHeader(ModelDeploymentError):
    """A header that may be there once is there twice."""

    status = 400
    title = "Double header"


class IncompleteBody(ModelDeploymentError):
    """Less of the body came than its headers announce."""

    status = 400
    title = "Incomplete body"


class Unauthenticated(ModelDeploymentError):
    """Nobody's, or a wrong password. Answered with a challenge (RFC 9110, section 11.6.1)."""

    status = 401
    title = "Unauthorized"

    @property
    def headers(self) -> dict[str, str]:
        """With the challenge."""
        return super().headers | {
            "WWW-Authenticate": 'Basic realm="model_deployment", charset="UTF-8"'
        }


class Forbidden(ModelDeploymentError):
    """The user is known, and may not do this."""

    status = 403
    title = "Forbidden"


class CrossSite(Forbidden):
    """A browser was made to ask by a page of another site."""


class NotDeployed(ModelDeploymentError):
    """No deployment has this key."""

    status = 404
    title = "Not deployed"


class UnknownModel(ModelDeploymentError):
    """The registry answered, and has no such model or version."""

    status = 404
    title = "Unknown model"


class NotFound(ModelDeploymentError):
    """What is asked for was never there, or is no more."""

    status = 404
    title = "Not found"


class MethodNotAllowed(ModelDeploymentError):
    """There is such a path, and not with this method."""

    status = 405
    title = "Method not allowed"

    def __init__(self, detail: str, allowed: Iterable[str]) -> None:
        super().__init__(detail)
        self._allowed = ", ".join(sorted(allowed))

    @property
    def headers(self) -> dict[str, str]:
        """With the methods that are allowed."""
        return super().headers | {"Allow": self._allowed}


class Conflict(ModelDeploymentError):
    """The request contradicts what was asked before."""

    status = 409
    title = "Conflict"


class PayloadTooLarge(ModelDeploymentError):
    """The body is over the limit."""

    status = 413
    title = "Payload too large"

    @classmethod
    def of(cls, limit: int, declared: int | None = None) -> "PayloadTooLarge":
        """How many bytes there are, where that is known, and how many there may be."""
        size = (
            "it has more" if declared is None or declared <= limit else f"it has {declared} bytes"
        )
        return cls(
            f"cannot accept the body: {size}, and {limit} bytes are the most "
            "(MODEL_DEPLOYMENT_MAX_BODY_BYTES). Many rows can be sent in several requests; a single row "
            "that is larger needs a higher limit"
        )


class UnsupportedMediaType(ModelDeploymentError):
    """The body is of a kind, or packed in a way, that no model reads."""

    status = 415
    title = "Unsupported media type"


class Misdirected(ModelDeploymentError):
    """The request was for another server."""

    status = 421
    title = "Misdirected request"


class InvalidRequest(ModelDeploymentError):
    """The request is understood and cannot be done as it stands."""

    status = 422
    title = "Invalid request"


class InvalidName(InvalidRequest):
    """A model name or version that may not be deployed."""

    title = "Invalid name"


class TooBusy(ModelDeploymentError):
    """More requests for one model than may wait for it."""

    status = 429
    title = "Too busy"


class DeployFailed(ModelDeploymentError):
    """The model process did not become ready, and the tries are used up."""

    status = 502
    title = "Deployment failed"


class ModelBroke(ModelDeploymentError):
    """The model process broke off while it was answering."""

    status = 502
    title = "Model process broke"


class ModelFailed(ModelDeploymentError):
    """The model raised an exception. What it was stands in its log, not in the answer."""

    status = 502
    title = "Model failed"


class OddAnswer(ModelFailed):
    """The model answered, with something that cannot be written as JSON."""

    title = "Answer is no JSON"


class Unavailable(ModelDeploymentError):
    """Not now; trying again may help."""

    status = 503
    title = "Unavailable"


class NotReady(Unavailable):
    """Deployed, but not serving at the moment."""

    title = "Not ready"


class NotReached(NotReady):
    """The model process is gone, and nothing of the request has reached it."""


class NoFreePort(Unavailable):
    """Every port of the range is in use."""

    title = "No free port"


class RegistryUnavailable(Unavailable):
    """The MLflow registry did not answer."""

    title = "Registry unavailable"


class UpstreamTimeout(ModelDeploymentError):
    """The model did not answer in time."""

    status = 504
    title = "Model timed out"


class DiskFull(ModelDeploymentError):
    """No room on the disk of the data directory."""

    status = 507
    title = "Disk full"


class NotEnoughMemory(ModelDeploymentError):
    """One more model would not fit into free memory."""

    status = 507
    title = "Not enough memory"

    @classmethod
    def of(cls, what: str, why: str) -> "NotEnoughMemory":
        """What cannot be done, and the figures."""
        return cls(
            f"cannot {what}: {why}. Undeploy a model, let models be parked (idle_timeout), or set "
            "MODEL_DEPLOYMENT_MEMORY_MARGIN, where 0 leaves memory out of it",
            retry_after=30,
        )


class InvalidSettings(ModelDeploymentError):
    """A setting that cannot be used."""

    title = "Invalid settings"


class CredentialsError(ModelDeploymentError):
    """The files with users and passwords cannot be used."""

    title = "Credentials unusable"


class StateError(ModelDeploymentError):
    """The state database cannot be used."""

    title = "State database unusable"


class IllegalTransition(StateError):
    """A move the state machine does not have, or that somebody else made first."""
