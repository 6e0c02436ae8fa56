"""The pool of ports: leases the lowest free port, and quarantines it after release.

Five rules, all in the ``ports`` table: a lease names its launch (between two launches of a replica that
keeps its port: the earlier one); the lowest free port is leased first; a released port is quarantined; a
port that a foreign process holds is blocked and tried again later; a lease whose launch no row knows is
pruned.
"""

import json
import sqlite3
from collections.abc import Set as AbstractSet

from model_deployment.core.errors import IllegalTransition, NoFreePort
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options, StartMethod
from model_deployment.core.port_usage import BlockedPort, PortUsage
from model_deployment.state.database import Database

#: Conditions under which a port may be leased; ``:now`` is the monotonic clock.
_FREE = "launch_id IS NULL AND quarantined_until <= :now AND blocked_until <= :now"


class Ports:
    """The pool of one data directory."""

    def __init__(self, database: Database, first: int, last: int) -> None:
        self._database = database
        self.first = first
        self.last = last

    @property
    def name(self) -> str:
        """The range, as in the settings."""
        return f"{self.first}-{self.last}"

    async def fill(self) -> None:
        """Make the table hold the configured range; ports outside it go once they are not leased."""

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT OR IGNORE INTO ports (port) VALUES (?)",
                [(port,) for port in range(self.first, self.last + 1)],
            )
            connection.execute(
                "DELETE FROM ports WHERE launch_id IS NULL AND NOT (port BETWEEN ? AND ?)",
                (self.first, self.last),
            )

        await self._database.write(work)

    async def next_free(self, now: float) -> int | None:
        """The lowest free port."""

        def work(connection: sqlite3.Connection) -> int | None:
            row = connection.execute(
                f"SELECT min(port) AS port FROM ports WHERE {_FREE} AND port BETWEEN :first AND :last",  # noqa: S608
                {"now": now, "first": self.first, "last": self.last},
            ).fetchone()
            return None if row["port"] is None else int(row["port"])

        return await self._database.read(work)

    async def block(self, port: int, holder: str, until: float) -> None:
        """Block a port that a foreign process holds, until a monotonic time."""
        await self._database.change(
            "UPDATE ports SET blocked_until = ?, blocked_by = ? WHERE port = ?",
            (until, holder, port),
        )

    async def prune(
        self, launches: AbstractSet[str], kept: AbstractSet[int] = frozenset()
    ) -> list[int]:
        """Release leases of launches that no row knows, except for ports that rows keep.

        Returns:
            The released ports.
        """

        def work(connection: sqlite3.Connection) -> list[int]:
            rows = connection.execute(
                "SELECT port, launch_id FROM ports WHERE launch_id IS NOT NULL"
            )
            stray = [
                row["port"]
                for row in rows
                if row["launch_id"] not in launches and row["port"] not in kept
            ]
            connection.executemany(
                "UPDATE ports SET launch_id = NULL WHERE port = ?", [(port,) for port in stray]
            )
            return stray

        return await self._database.write(work)

    async def check_change(
        self, key: ModelKey, before: Options, after: Options, capacity: int
    ) -> None:
        """Check that a deployment could get the ports that it needs more of with other options.

        Raises:
            NoFreePort: the deployments would need more ports than there are.
        """
        if _needed(after) > _needed(before):
            await self._database.read(lambda c: check_capacity(c, capacity, but=key, options=after))

    async def usage(self, now: float) -> PortUsage:
        def work(connection: sqlite3.Connection) -> PortUsage:
            rows = connection.execute(
                "SELECT * FROM ports WHERE port BETWEEN ? AND ? ORDER BY port",
                (self.first, self.last),
            ).fetchall()
            idle = [row for row in rows if row["launch_id"] is None]
            blocked = [row for row in idle if row["blocked_until"] > now]
            resting = [
                row
                for row in idle
                if row["quarantined_until"] > now and row["blocked_until"] <= now
            ]
            return PortUsage(
                first=self.first,
                last=self.last,
                leased=len(rows) - len(idle),
                quarantined=len(resting),
                blocked=tuple(BlockedPort(row["port"], row["blocked_by"]) for row in blocked),
            )

        return await self._database.read(work)


def lease(connection: sqlite3.Connection, port: int, launch_id: str, now: float) -> None:
    """Give a port to a launch, inside the caller's transaction.

    Raises:
        IllegalTransition: the port is not free.
    """
    cursor = connection.execute(
        f"UPDATE ports SET launch_id = :launch, blocked_by = '' WHERE port = :port AND {_FREE}",  # noqa: S608
        {"launch": launch_id, "port": port, "now": now},
    )
    if cursor.rowcount != 1:
        raise IllegalTransition(f"cannot lease port {port}: it is not free")


def pass_on(connection: sqlite3.Connection, port: int, launch_id: str) -> None:
    """Give a kept port to the next launch of its deployment, inside the caller's transaction.

    Raises:
        IllegalTransition: the port is not leased.
    """
    cursor = connection.execute(
        "UPDATE ports SET launch_id = ? WHERE port = ? AND launch_id IS NOT NULL", (launch_id, port)
    )
    if cursor.rowcount != 1:
        raise IllegalTransition(f"cannot go on with port {port}: it is not leased")


def release(connection: sqlite3.Connection, port: int, quarantined_until: float) -> None:
    """End a lease, inside the caller's transaction."""
    connection.execute(
        "UPDATE ports SET launch_id = NULL, quarantined_until = ? WHERE port = ?",
        (quarantined_until, port),
    )


def check_capacity(
    connection: sqlite3.Connection, capacity: int, but: ModelKey, options: Options
) -> None:
    """Check that a deployment could get the ports that its launches listen on.

    One that is never parked needs a port of its own for each replica that it always has. All others share
    as many as the largest of them needs.

    Raises:
        NoFreePort: the deployments need more ports than there are.
    """
    rows = connection.execute(
        "SELECT options FROM deployments d WHERE NOT (model = ? AND version = ?) "
        "AND (desired = 'running' AND rest IS NOT 'failed' OR EXISTS "
        "(SELECT 1 FROM launches WHERE deployment_id = d.id AND launch_id IS NOT NULL))",
        (but.model, but.version),
    )
    others = [Options.from_dict(json.loads(row["options"])) for row in rows]
    _check_alone(options, capacity)
    taken = sum(_needed(each) for each in others if not each.idle_timeout)
    own = 0 if options.idle_timeout else _needed(options)
    shared = max((_needed(each) for each in [options, *others] if each.idle_timeout), default=0)
    if taken + own + shared > capacity:
        reserved = (
            f" permanently, and {'one is' if shared == 1 else f'{shared} are'} reserved for models that "
            "can be parked"
            if shared
            else ""
        )
        each = f", and its {own} replicas need one each" if own > 1 else ""
        raise NoFreePort(
            f"{min(taken, capacity)} of {capacity} usable ports are taken{reserved}{each}",
            retry_after=30,
        )


def _check_alone(options: Options, capacity: int) -> None:
    """Check that there would be ports enough if there were no other deployment."""
    if (needed := _needed(options)) > capacity and needed > 1:
        raise NoFreePort(f"{needed} replicas need {needed} ports; usable: {capacity}")


def _needed(options: Options) -> int:
    """How many ports a deployment listens on at least; containers have sockets of their own."""
    return 0 if options.start_method is StartMethod.CONTAINER else options.replicas.min
