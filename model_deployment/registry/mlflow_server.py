"""Knows which MLflow release answers at an address: asked once, and again when that may have changed."""

import logging
import threading
import time
from collections.abc import Callable

from model_deployment.registry.server_features import (
    MlflowVersion,
    ServerFeature,
    first_release,
    offers,
    read_mlflow_version,
)
from model_deployment.registry.values import shown

_log = logging.getLogger(__name__)

#: Seconds that an answer holds, unless an error gives cause to doubt it. A server that was upgraded while
#: it answered all the time is noticed after this.
_FRESH = 300.0
#: Seconds between questions to a server that does not say, or whose answers are doubted.
_PAUSE = 10.0
#: Seconds that the question may take.
_TIMEOUT = 3
_WEB = ("http://", "https://")


def ask_version(address: str) -> MlflowVersion | None:
    """The version of the server at a URL; None if it does not say. For anything else the client's own.

    Uses MLflow's client, and with it the user, token and certificates that all other calls use. Servers
    that are compatible with MLflow's may not say, nor does one of MLflow 2 with ``--static-prefix``.

    Raises:
        MlflowException: the server did not answer.
    """
    import mlflow
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    if not address.startswith(_WEB):
        # A database or a folder is used by the client itself; Databricks has no releases.
        here = "" if address.startswith(("databricks", "uc:")) else str(mlflow.__version__)
        return read_mlflow_version(here)
    creds = get_default_host_creds(address)
    answer = http_request(
        creds, "/version", "GET", timeout=_TIMEOUT, max_retries=0, raise_on_status=False
    )
    return read_mlflow_version(answer.text[:100]) if answer.status_code == 200 else None


class MlflowServer:
    """One server, by what it can be asked. Thread-safe."""

    def __init__(
        self,
        address: str,
        ask: Callable[[str], MlflowVersion | None] = ask_version,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask nothing yet."""
        self.address = address
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._version: MlflowVersion | None = None
        #: What a server of unknown version was found to lack.
        self._lacking: set[ServerFeature] = set()
        self._asked_at: float | None = None
        self._doubted = False

    def has(self, feature: ServerFeature) -> bool:
        """Whether to ask the server for a feature. It blocks while the server is asked for its version."""
        with self._lock:
            self._renew()
            return offers(self._version, self._lacking, feature)

    def surely_has(self, feature: ServerFeature) -> bool:
        """Whether its version says so; a store that is no web server has all that the client has."""
        known = self.version() is not None or not self.address.startswith(_WEB)
        return known and self.has(feature)

    def version(self) -> MlflowVersion | None:
        """The server's version; None if it does not say. Blocks as :meth:`has`."""
        with self._lock:
            self._renew()
            return self._version

    @property
    def last_version(self) -> str:
        """The version when it was asked for last, without asking; empty if unknown."""
        return str(self._version or "")

    def learn_missing(self, feature: ServerFeature) -> bool:
        """The server had no call of a feature that it seemed to have: whether it lacks the feature indeed.

        The server may have been replaced by an older one, so its version is asked for again. A release
        that has the feature is believed: its page came from a proxy in between, say.
        """
        with self._lock:
            self._doubted = True
            self._renew(pause=0.0)
            if self._version is None and feature not in self._lacking:
                self._lacking.add(feature)
                _log.info("the MLflow server at %s has no %s", shown(self.address), feature)
            return not offers(self._version, self._lacking, feature)

    def doubt(self) -> None:
        """A call failed: the server may be another one from now on."""
        self._doubted = True

    def lack(self, feature: ServerFeature) -> str:
        """Why a feature cannot be used, and what helps: the second half of a message."""
        version = self.version()
        has = f"is {version}, which has" if version else "has"
        return (
            f"the MLflow server at {shown(self.address)} {has} no {feature}; they need MLflow "
            f"{first_release(feature)} or newer there"
        )

    def _renew(self, pause: float = _PAUSE) -> None:
        now = self._clock()
        if self._asked_at is not None:
            age = now - self._asked_at
            if age < (pause if self._doubted else _FRESH):
                return
        first, self._asked_at = self._asked_at is None, now
        try:
            found = self._ask(self.address)
        except Exception as error:  # the call that needs to know says what is wrong with the server
            self._doubted = True
            _log.debug("no version of %s: %s", shown(self.address), shown(str(error)))
            return
        # What was learned holds as long as an answer does.
        if found is not None or not self._doubted:
            self._lacking.clear()
        if not first and found != self._version:
            new, before = found or "of unknown release", self._version or "of unknown release"
            _log.info("the MLflow server at %s is %s, was %s", shown(self.address), new, before)
        self._version, self._doubted = found, False
