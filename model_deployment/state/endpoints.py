"""The endpoints, and the deployments that exist for them only."""

import json
import sqlite3

from model_deployment.core.endpoints import Endpoint, EndpointName, Pair
from model_deployment.core.names import ModelKey
from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.state import endpoint_rows as rows
from model_deployment.state.database import Database
from model_deployment.state.rows import now


class EndpointStore:
    """Reads and changes the rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Pair]:
        """Every endpoint with its newest rollout, oldest endpoint first."""

        def work(connection: sqlite3.Connection) -> list[Pair]:
            newest = {
                row["endpoint_id"]: rows.rollout_of(row)
                for row in connection.execute(
                    "SELECT * FROM rollouts WHERE id IN "
                    "(SELECT max(id) FROM rollouts GROUP BY endpoint_id)"
                )
            }
            found = connection.execute("SELECT * FROM endpoints ORDER BY id")
            endpoints = [rows.endpoint_of(row) for row in found]
            return [(one, newest.get(one.id)) for one in endpoints]

        return await self._database.read(work)

    async def put(self, name: EndpointName, policy: RolloutPolicy, reason: str) -> bool:
        """Make an endpoint or change its policy; whether it is new.

        The first endpoint of a model is its default one.
        """

        def work(connection: sqlite3.Connection) -> bool:
            text = json.dumps(policy.as_dict())
            found = rows.get(connection, name)
            if found is None:
                connection.execute(
                    "INSERT INTO endpoints (model, alias, policy, created_at) VALUES (?, ?, ?, ?)",
                    (name.model, name.alias, text, now()),
                )
                found = rows.get(connection, name)
                assert found is not None  # noqa: S101 - it was inserted
                rows.write_event(connection, found.id, reason=reason)
                return True
            connection.execute(
                "UPDATE endpoints SET policy = ?, deleting = 0 WHERE id = ?", (text, found.id)
            )
            if found.policy != policy or found.deleting:
                rows.write_event(connection, found.id, reason=reason)
            return False

        return await self._database.write(work)

    async def want_deleted(self, endpoint: Endpoint, reason: str) -> None:
        """Route nothing to an endpoint any more; the loop removes it then."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE endpoints SET deleting = 1 WHERE id = ?", (endpoint.id,))
            rows.write_event(connection, endpoint.id, reason=reason)

        await self._database.write(work)

    async def remove(self, endpoint: Endpoint) -> None:
        """Remove an endpoint that is being deleted, with its history."""
        await self._database.change(
            "DELETE FROM endpoints WHERE id = ? AND deleting = 1", (endpoint.id,)
        )

    async def make_default(self, endpoint: Endpoint, reason: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE endpoints SET default_at = ? WHERE id = ?", (now(), endpoint.id)
            )
            rows.write_event(connection, endpoint.id, reason=reason)

        await self._database.write(work)

    async def observe(self, endpoint: Endpoint, alias_version: int | None, notice: str) -> None:
        """Write what was seen of the alias. A new notice is an event."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE endpoints SET alias_version = ?, notice = ? WHERE id = ?",
                (alias_version, notice, endpoint.id),
            )
            if notice != endpoint.notice:
                rows.write_event(connection, endpoint.id, reason=notice or "the alias is back")

        await self._database.write(work)

    async def release_previous(self, endpoint: Endpoint) -> None:
        """Keep the previous champion ready no longer."""
        await self._database.change(
            "UPDATE endpoints SET previous_until = NULL WHERE id = ? AND previous_until = ?",
            (endpoint.id, endpoint.previous_until and rows.text_of(endpoint.previous_until)),
        )

    async def claim(self, key: ModelKey) -> None:
        """Note that a deployment exists for endpoints only. Written before it is deployed.

        Changes nothing if somebody else wants it to run.
        """
        await self._database.change(
            "INSERT OR IGNORE INTO endpoint_deployments SELECT :model, :version WHERE NOT EXISTS "
            "(SELECT 1 FROM deployments WHERE model = :model AND version = :version "
            "AND desired = 'running')",
            {"model": key.model, "version": key.version},
        )

    async def disown(self, key: ModelKey) -> None:
        """Note that somebody else wants a deployment as well, or that it is gone."""
        await self._database.change(
            "DELETE FROM endpoint_deployments WHERE model = ? AND version = ?",
            (key.model, key.version),
        )

    async def claimed(self) -> set[ModelKey]:
        """The deployments that exist for endpoints only."""

        def work(connection: sqlite3.Connection) -> set[ModelKey]:
            found = connection.execute("SELECT model, version FROM endpoint_deployments")
            return {ModelKey(*row) for row in found}

        return await self._database.read(work)
