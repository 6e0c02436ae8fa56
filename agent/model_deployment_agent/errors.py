"""What can go wrong, named for it. Each text is a whole sentence: ``cannot <do X>: <why>; <what
helps>``."""


class AgentError(Exception):
    """The text is for people."""


class ReleaseRefused(AgentError):
    """A release may not run here: signature, expiry, lower number, agent too old."""


class UpdateFailed(AgentError):
    """A release could not be brought to run here."""


class Unreachable(AgentError):
    """The controller gave no usable answer; later it may."""


class TokenRejected(AgentError):
    """The controller does not know the token of this device."""


class ControllerRefused(AgentError):
    """The controller answered with an error that trying again will not change.

    ``status`` is that of HTTP.
    """

    def __init__(self, detail: str, status: int) -> None:
        super().__init__(detail)
        self.status = status


class BadInput(AgentError):
    """A request to the model that the model cannot take; the caller has to change it."""


class ModelFailed(AgentError):
    """The model raised an error, ended, or did not answer in time."""
