"""What takes too long to ask for each snapshot: registry, document store, and errors of models."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.attention import LastError
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.documents.base import StoreUnavailable
from model_deployment.state.database import DatabaseError

_log = logging.getLogger(__name__)

#: Seconds between two checks.
_PERIOD = 15.0
#: How far back errors of models are looked at.
_ERRORS = timedelta(hours=1)


class SlowChecks:
    """Repeated in the background while pages are open; the last results stay until the next ones."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        #: Why the registry does not answer; empty if it does, None before the first check.
        self.registry: str | None = None
        #: Why the document store cannot be read; empty if it can.
        self.store = ""
        #: What models failed with in the last minutes, by deployment.
        self.errors: dict[ModelKey, LastError] = {}
        self._task: asyncio.Task[None] | None = None
        self._started_at = float("-inf")

    def start_if_due(self) -> None:
        due = time.monotonic() - self._started_at >= _PERIOD
        if due and (self._task is None or self._task.done()):
            self._started_at = time.monotonic()
            self._task = asyncio.create_task(self._run(), name="dashboard checks")

    async def first(self, timeout: float) -> None:
        """Wait for the first results, for some seconds at most."""
        self.start_if_due()
        if self.registry is None and self._task is not None:
            await asyncio.wait({self._task}, timeout=timeout)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        dependencies = self._dependencies
        try:
            self.registry, self.store, self.errors = await asyncio.gather(
                _problem(dependencies.ping_registry),
                # Captures show only whether the store takes writes, and only if there are captures.
                _problem(dependencies.ping_documents),
                self._read_errors(),
            )
        except Exception:
            _log.exception("cannot check registry, document store and errors for the dashboard")

    async def _read_errors(self) -> dict[ModelKey, LastError]:
        try:
            newest = await self._dependencies.monitoring.errors.newest(_ERRORS)
        except (StoreUnavailable, DatabaseError):
            return self.errors
        return {
            key: LastError(group.line, group.first_at, group.public_line)
            for key, group in newest.items()
        }


async def _problem(ping: Callable[[], Awaitable[object]]) -> str:
    """Why there is no answer; empty if there is one."""
    try:
        await ping()
    except (ModelDeploymentError, StoreUnavailable) as error:
        return str(error)
    return ""
