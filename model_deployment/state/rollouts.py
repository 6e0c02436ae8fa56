"""The rollouts of endpoints: every change of a state is one compare-and-set and one event."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from model_deployment.core.endpoints import (
    ACTIVE,
    Endpoint,
    Order,
    Rollout,
    RolloutEvent,
    RolloutKind,
    RolloutState,
)
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.rollouts import check
from model_deployment.state import endpoint_rows as rows
from model_deployment.state.database import Database
from model_deployment.state.rows import now


class RolloutStore:
    """Reads and changes the rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self,
        endpoint: Endpoint,
        candidate: int,
        kind: RolloutKind,
        reason: str,
        order: Order = Order.ADVANCE,
        *,
        follows: bool = True,
    ) -> Rollout:
        """Begin a rollout in place of one that is under way.

        Args:
            follows: the alias names the candidate.

        Raises:
            IllegalTransition: the champion or the alias's version has changed since the row was read.
        """

        def work(connection: sqlite3.Connection) -> Rollout:
            before = rows.newest(connection, endpoint.id)
            if before is not None and before.active:
                text = f"the alias moved on to version {candidate}"
                _move(connection, before, RolloutState.SUPERSEDED, text)
            changed = connection.execute(
                "UPDATE endpoints SET alias_version = ?, notice = ? "
                "WHERE id = ? AND champion IS ? AND alias_version IS ?",
                (
                    candidate if follows else endpoint.alias_version,
                    "" if follows else endpoint.notice,
                    endpoint.id,
                    endpoint.champion,
                    endpoint.alias_version,
                ),
            )
            if changed.rowcount != 1:
                raise IllegalTransition(
                    f"cannot begin a rollout of {endpoint.name}: it has changed"
                )
            moment = now()
            connection.execute(
                'INSERT INTO rollouts (endpoint_id, candidate, champion, kind, state, "order", reason, '
                "evidence, started_at, since) VALUES (?, ?, ?, ?, 'deploying', ?, ?, '{}', ?, ?)",
                (endpoint.id, candidate, endpoint.champion, kind, order, reason, moment, moment),
            )
            begun = rows.newest(connection, endpoint.id)
            assert begun is not None  # noqa: S101 - it was inserted
            rows.write_event(connection, endpoint.id, begun, begun.state, reason)
            return begun

        return await self._database.write(work)

    async def move(
        self,
        rollout: Rollout,
        state: RolloutState,
        reason: str,
        *,
        step: int = 0,
        alias_version: int | None = None,
    ) -> Rollout:
        """Change the state of a rollout; on promotion and on the way back the champion with it.

        Args:
            alias_version: what the alias names now, if it has moved.

        Raises:
            IllegalTransition: the transition is not legal, or the row has changed since it was read.
        """

        def work(connection: sqlite3.Connection) -> Rollout:
            if alias_version is not None:
                connection.execute(
                    "UPDATE endpoints SET alias_version = ?, notice = '' WHERE id = ?",
                    (alias_version, rollout.endpoint_id),
                )
            return _move(connection, rollout, state, reason, step)

        return await self._database.write(work)

    async def hold(self, rollout: Rollout, reason: str) -> None:
        """Write what a rollout waits for, without an event."""
        await self._database.change(
            "UPDATE rollouts SET reason = ? WHERE id = ? AND state = ? AND step = ?",
            (reason, rollout.id, rollout.state, rollout.step),
        )

    async def record(self, rollout: Rollout, evidence: Mapping[str, Any]) -> None:
        """Write what was found about a candidate."""
        await self._database.change(
            "UPDATE rollouts SET evidence = ? WHERE id = ?", (json.dumps(evidence), rollout.id)
        )

    async def note_told(self, rollout: Rollout) -> None:
        """Write that the world knows how a rollout ended."""
        await self._database.change(
            "UPDATE rollouts SET evidence = json_set(evidence, '$.told', json('true')) "
            "WHERE id = ? AND state = ?",
            (rollout.id, rollout.state),
        )

    async def set_order(self, rollout: Rollout, order: Order, reason: str) -> bool:
        """Write what an operator wants of a rollout under way; False if it has ended meanwhile."""

        def work(connection: sqlite3.Connection) -> bool:
            changed = connection.execute(
                'UPDATE rollouts SET "order" = ? WHERE id = ? AND ended_at IS NULL',
                (order, rollout.id),
            )
            if changed.rowcount == 1:
                rows.write_event(connection, rollout.endpoint_id, rollout, rollout.state, reason)
            return changed.rowcount == 1

        return await self._database.write(work)

    async def rollouts(self, endpoint: Endpoint, limit: int) -> list[Rollout]:
        """Newest first."""

        def work(connection: sqlite3.Connection) -> list[Rollout]:
            found = connection.execute(
                "SELECT * FROM rollouts WHERE endpoint_id = ? ORDER BY id DESC LIMIT ?",
                (endpoint.id, limit),
            )
            return [rows.rollout_of(row) for row in found]

        return await self._database.read(work)

    async def events(self, endpoint: Endpoint, limit: int) -> list[RolloutEvent]:
        """Newest first."""

        def work(connection: sqlite3.Connection) -> list[RolloutEvent]:
            found = connection.execute(
                "SELECT * FROM rollout_events WHERE endpoint_id = ? ORDER BY id DESC LIMIT ?",
                (endpoint.id, limit),
            )
            return [rows.event_of(row) for row in found]

        return await self._database.read(work)

    async def prune(self, keep: int) -> None:
        """Keep the newest events and ended rollouts of each endpoint."""

        def work(connection: sqlite3.Connection) -> None:
            for table in ("rollout_events", "rollouts"):
                connection.execute(
                    f"DELETE FROM {table} WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER "  # noqa: S608
                    "(PARTITION BY endpoint_id ORDER BY id DESC) AS place FROM "
                    f"{table}) WHERE place > ?)",
                    (keep,),
                )

        await self._database.write(work)

    async def note(self, endpoint: Endpoint, rollout: Rollout | None, reason: str) -> None:
        """Write an event without a change."""
        state = rollout.state if rollout else None
        await self._database.write(
            lambda c: rows.write_event(c, endpoint.id, rollout, state, reason, previous=state)
        )


def _move(
    connection: sqlite3.Connection,
    rollout: Rollout,
    state: RolloutState,
    reason: str,
    step: int = 0,
) -> Rollout:
    if not check(rollout.state, state):
        raise IllegalTransition(f"cannot move rollout {rollout.id} from {rollout.state} to {state}")
    moment = now()
    ended = None if state in ACTIVE else moment
    changed = connection.execute(
        "UPDATE rollouts SET state = ?, reason = ?, step = ?, since = ?, ended_at = ?, "
        "evidence = json_set(evidence, '$.told', json('false')) "
        'WHERE id = ? AND state = ? AND step = ? AND "order" = ?',
        (
            state,
            reason,
            step,
            moment,
            ended,
            rollout.id,
            rollout.state,
            rollout.step,
            rollout.order,
        ),
    )
    if changed.rowcount != 1:
        raise IllegalTransition(
            f"cannot move rollout {rollout.id} to {state}: it is no longer {rollout.state}"
        )
    if state is RolloutState.PROMOTED:
        _promote(connection, rollout, moment)
    elif state is RolloutState.ROLLED_BACK and rollout.state is RolloutState.PROMOTED:
        _restore(connection, rollout, moment)
    found = rows.newest(connection, rollout.endpoint_id)
    rows.write_event(
        connection, rollout.endpoint_id, rollout, state, reason, previous=rollout.state
    )
    assert found is not None  # noqa: S101
    return found


def _restore(connection: sqlite3.Connection, rollout: Rollout, moment: str) -> None:
    """Make the champion before the rollout the champion again."""
    newest = rows.newest(connection, rollout.endpoint_id)
    if newest is None or newest.id != rollout.id:
        raise IllegalTransition(f"cannot move rollout {rollout.id} back: there is a newer one")
    connection.execute(
        "UPDATE endpoints SET champion = ?, champion_since = ?, previous = NULL, "
        "previous_until = NULL WHERE id = ?",
        (rollout.champion, moment, rollout.endpoint_id),
    )


def _promote(connection: sqlite3.Connection, rollout: Rollout, moment: str) -> None:
    row = connection.execute(
        "SELECT * FROM endpoints WHERE id = ?", (rollout.endpoint_id,)
    ).fetchone()
    endpoint = rows.endpoint_of(row)
    until = datetime.fromisoformat(moment) + timedelta(seconds=endpoint.policy.keep_previous)
    replaced = endpoint.champion not in (None, rollout.candidate)
    connection.execute(
        "UPDATE endpoints SET champion = ?, champion_since = ?, previous = ?, previous_until = ? "
        "WHERE id = ?",
        (
            rollout.candidate,
            moment,
            endpoint.champion if replaced else endpoint.previous,
            rows.text_of(until) if replaced else None,
            rollout.endpoint_id,
        ),
    )
