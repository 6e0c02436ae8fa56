"""Since when deployments are not ready, or have failed: read from their events once for each change."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime

from model_deployment.core.domain import Deployment, State
from model_deployment.core.errors import NotDeployed
from model_deployment.core.events import Event
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.attention import failed_since, not_ready_since
from model_deployment.state.database import DatabaseError

#: Events that are read of a deployment.
_EVENTS = 100


class NotReadySince:
    def __init__(self, events: Callable[[ModelKey, int], Awaitable[Sequence[Event]]]) -> None:
        """
        Args:
            events: so many events of a deployment, newest first.
        """
        self._events = events
        #: By deployment: what the row was when its events were read, and what they told.
        self._known: dict[ModelKey, tuple[tuple[object, ...], datetime | None]] = {}

    async def of(self, rows: Iterable[Deployment]) -> dict[ModelKey, datetime | None]:
        """By deployment, only of those that failed or ended by themselves."""
        known = {}
        for row in rows:
            if row.state is not State.FAILED and not row.tries + row.kills:
                continue
            mark = (row.state, row.tries, row.kills, row.starts)
            before = self._known.get(row.key)
            known[row.key] = (
                before if before and before[0] == mark else (mark, await self._read(row))
            )
        self._known = known
        return {key: since for key, (_, since) in known.items()}

    async def _read(self, row: Deployment) -> datetime | None:
        try:
            events = await self._events(row.key, _EVENTS)
        except (NotDeployed, DatabaseError):
            return None
        return failed_since(events) if row.state is State.FAILED else not_ready_since(events)
