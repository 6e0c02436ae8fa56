"""Has the service of flows run while it is needed: it ends by itself when nothing runs."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.flows.prefect import Address
from model_deployment.flows.service_file import Service, ServiceState

_log = logging.getLogger(__name__)

#: Seconds between attempts: doubled from one to the next.
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0


class Process(Protocol):
    """As :class:`~model_deployment.runtime.flow_service.ServiceProcess`."""

    def start(self, environment: Mapping[str, str]) -> None: ...
    def is_running(self) -> bool: ...
    def status(self) -> int | None: ...
    def last_words(self) -> str: ...


class Keeper(Protocol):
    """Who says where the engine is, and has it run."""

    def address(self) -> Address | None:
        """Where it is; None: it is not ready."""
        ...

    def ensure(self) -> None:
        """Have it run, or try again in a while; raises nothing."""
        ...

    @property
    def state(self) -> ServiceState: ...

    @property
    def problem(self) -> str:
        """Why it could not be started; empty: nothing is wrong."""
        ...


class Starter:
    """A service on this machine, started when it is needed."""

    def __init__(
        self,
        process: Process,
        read: Callable[[], Service],
        environment: Callable[[], Mapping[str, str]],
        *,
        unusable: Callable[[], str] = lambda: "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            read: what the service says of itself.
            environment: of the process, with its passwords.
            unusable: why it cannot be started at all; empty where it can.
        """
        self._process = process
        self._read = read
        self._environment = environment
        self._unusable = unusable
        self._clock = clock
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
        self._waited = False  # for the process that was started last
        self.problem = ""

    def address(self) -> Address | None:
        """Where the engine is; None: it is not ready."""
        return self._read().address

    @property
    def state(self) -> ServiceState:
        found = self._read().state
        if found is ServiceState.AWAY and self._process.is_running():
            return ServiceState.STARTING
        return found

    def ensure(self) -> None:
        """Start it unless it runs, or was started a moment ago in vain."""
        state = self.state
        if state is ServiceState.READY:
            self._pause, self.problem, self._waited = _FIRST_PAUSE, "", False
        if state is not ServiceState.AWAY:
            return
        now = self._clock()
        if self._waited:
            self._failed(self._words(), now)
        if now < self._not_before:
            return
        if why := self._unusable():
            self._failed(why, now)
            return
        try:
            self._process.start(self._environment())
            self._waited = True
            _log.info("the service of flows is starting")
        except (OSError, ModelDeploymentError) as error:
            self._failed(str(error), now)

    def _words(self) -> str:
        status, said = self._process.status(), self._process.last_words()
        return f"it ended with status {status}" + (f": {said}" if said else "")

    def _failed(self, why: str, now: float) -> None:
        self._waited = False
        self._not_before = now + self._pause
        self._pause = min(_LONGEST_PAUSE, 2 * self._pause)
        problem = f"cannot start the service of flows: {why}"
        if problem != self.problem:
            _log.error("%s", problem)
        self.problem = problem


class Elsewhere:
    """An engine that others run, at an address from the settings."""

    problem = ""

    def __init__(self, address: Address) -> None:
        self._address = address

    def address(self) -> Address:
        """From the settings."""
        return self._address

    @property
    def state(self) -> ServiceState:
        return ServiceState.READY

    def ensure(self) -> None:
        """Nothing: others start it."""
