"""What is really there: processes by their marker, listeners, and the rows that should match them.

Reads ``/proc`` and the SQLite file, never the API and never the code under test, so that a mistake
in that code cannot hide itself. Blocks for some milliseconds; nothing here waits on an event loop.
"""

import contextlib
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.children import zombies
from tests.support.listening import listeners, listens, pids
from tests.support.waiting import until_sync

MARKER = b"MODEL_DEPLOYMENT_LAUNCH="
BUILD = b"MODEL_DEPLOYMENT_BUILD="
LIVE = ("starting", "ready", "stopping")


@dataclass(frozen=True, slots=True)
class Marked:
    """A living process that carries a launch's marker, or that of a companion."""

    pid: int
    instance: str
    launch_id: str
    cmdline: str
    pgid: int
    #: Of a companion: equal for those that behave alike.
    build: str = ""

    @property
    def is_companion(self) -> bool:
        """Whether it is of the drain or of a proxy: ``launch_id`` is their kind and id."""
        return "." in self.launch_id

    def __str__(self) -> str:
        return f"process {self.pid} of launch {self.launch_id} ({self.cmdline[:120]})"


@dataclass(frozen=True, slots=True)
class Row:
    """What the checks need of a launch."""

    key: str
    state: str
    launch_id: str | None
    port: int | None

    def __str__(self) -> str:
        return f"{self.key} ({self.state}, launch {self.launch_id}, port {self.port})"


@dataclass(frozen=True, slots=True)
class Stored:
    """The state database at one moment."""

    #: Launches.
    rows: Sequence[Row] = ()
    #: Deployments that rest, or have no launch that serves; with such a launch, if they have one.
    resting: Sequence[Row] = ()
    #: Port and launch of each lease.
    leases: Sequence[tuple[int, str]] = ()
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class World:
    """The machine and the state database at one moment."""

    processes: Sequence[Marked]
    listening: dict[int, int | None]
    zombies: Sequence[str] = ()
    stored: Stored = field(default_factory=Stored)
    #: Ids of proxies that have a control socket.
    sockets: frozenset[str] = frozenset()
    #: Processes that are to be proxies; None: not known.
    proxies: int | None = None

    @classmethod
    def look(
        cls, state_db: Path, instance: str, ports: tuple[int, int], proxies: int | None = None
    ) -> "World":
        """Look at everything."""
        return cls(
            processes=marked_processes(instance),
            listening=listeners(*ports),
            zombies=zombies(),
            stored=read_state(state_db),
            sockets=control_sockets(state_db.parent),
            proxies=proxies,
        )

    def problems(self) -> list[str]:
        """All that does not fit together."""
        return [
            *self._strays(),
            *self._not_serving(),
            *self._leases(),
            *(self._companions(self.proxies) if self.proxies is not None else ()),
            *self._resting(),
            *(f"zombie {zombie} was never reaped" for zombie in self.zombies),
        ]

    def _resting(self) -> Iterator[str]:
        """Deployments that rest and have launches, or have neither; ports of launches without processes."""
        for row in self.stored.resting:
            if row.state == "lost":
                yield f"{row.key} has neither launches nor a state to rest in"
            elif row.launch_id or row.port:
                yield f"{row.key} rests ({row.state}) and still has a launch"

    def _strays(self) -> Iterator[str]:
        """Processes no row accounts for."""
        known = {row.launch_id for row in self.stored.rows if row.state in LIVE}
        for process in self.processes:
            if process.launch_id not in known and not process.is_companion:
                yield f"{process} belongs to no live row"

    def _companions(self, wanted: int) -> Iterator[str]:
        """Proxies and drains that are missing, too many, or of different builds; stale sockets."""
        ids = {one.pid: one.launch_id.partition(".")[::2] for one in self.processes}
        proxies = [one for one in self.processes if ids[one.pid][0] == "proxy"]
        drains = [one for one in self.processes if ids[one.pid][0] == "drain"]
        if len(proxies) != wanted:
            yield f"{wanted} proxies are wanted, and there are {[str(one) for one in proxies]}"
        if len({one.build for one in proxies}) > 1:
            yield f"the proxies are of different builds: {[str(one) for one in proxies]}"
        if len(drains) != 1:
            yield f"one drain is wanted, and there are {[str(one) for one in drains]}"
        # One that runs in the controller has a socket too.
        stale = self.sockets - {ids[one.pid][1] for one in proxies}
        if len(stale) > (wanted == 0):
            yield f"control sockets of no living proxy: {sorted(stale)}"

    def _not_serving(self) -> Iterator[str]:
        """Ready rows whose launch is dead, or is not the one that listens on their port."""
        launches = {process.pid: process.launch_id for process in self.processes}
        for row in self.stored.rows:
            if row.state != "ready":
                continue
            if row.launch_id not in launches.values():
                yield f"{row} has no living process"
            if row.port is None:  # it listens on something else
                continue
            if row.port not in self.listening:
                yield f"{row} has no listener on its port"
            elif launches.get(self.listening[row.port] or 0) != row.launch_id and not any(
                id == row.launch_id and listens(pid, row.port) for pid, id in launches.items()
            ):
                yield f"{row} has a stranger on its port: pid {self.listening[row.port]}"

    def _leases(self) -> Iterator[str]:
        """Leases and live rows that do not belong to each other, one to one."""
        wanted: Counter[tuple[int | None, str | None]] = Counter(
            (r.port, r.launch_id) for r in self.stored.rows if r.state in LIVE and r.port
        )
        # One that restarts may keep its port meanwhile.
        kept = {row.port for row in self.stored.rows if row.state == "pending"}
        leased: Counter[tuple[int | None, str | None]] = Counter(
            lease for lease in self.stored.leases if lease[0] not in kept
        )
        for port, launch_id in wanted - leased:
            yield f"launch {launch_id} has no lease of its port {port}"
        for port, launch_id in leased - wanted:
            yield f"port {port} is leased to launch {launch_id}, which no live row has there"


def control_sockets(data: Path) -> frozenset[str]:
    """Ids of the proxies that have a control socket in a data directory."""
    names = {path.stem for path in (data / "proxies").glob("*.sock")}
    return frozenset(names - {"api"})


def marked_processes(instance: str | None = None) -> list[Marked]:
    """Every living process with a marker, of one instance or of all. No zombies."""
    found = map(_marked, pids())
    return [process for process in found if process and instance in (None, process.instance)]


def _marked(pid: int) -> Marked | None:
    process = Path("/proc") / str(pid)
    # It may end between any two of these, and other users' environments are not ours to read. The
    # environment of a zombie is empty.
    with contextlib.suppress(OSError):
        variables = (process / "environ").read_bytes().split(b"\0")
        builds = [os.fsdecode(one[len(BUILD) :]) for one in variables if one.startswith(BUILD)]
        for variable in variables:
            if variable.startswith(MARKER):
                instance, _, launch_id = os.fsdecode(variable[len(MARKER) :]).partition("/")
                cmdline = os.fsdecode((process / "cmdline").read_bytes()).replace("\0", " ")
                return Marked(pid, instance, launch_id, cmdline.strip(), os.getpgid(pid), *builds)
    return None


def read_state(state_db: Path) -> Stored:
    """The state database, in one transaction; empty where there is no file."""
    if not state_db.exists():
        return Stored()
    uri = f"{state_db.resolve().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        key = "d.model || '-' || d.version"
        rows = connection.execute(
            f"SELECT {key}, l.state, l.launch_id, l.port FROM launches l "
            "JOIN deployments d ON d.id = l.deployment_id ORDER BY d.id, l.id"
        )
        stored = [Row(*row) for row in rows]
        serving = "FROM launches WHERE deployment_id = d.id AND role = 'serving'"
        rows = connection.execute(
            f"SELECT {key}, coalesce(rest, 'lost'), (SELECT launch_id {serving}), "
            f"(SELECT id {serving}) FROM deployments d WHERE rest IS NOT NULL "
            f"OR NOT EXISTS (SELECT 1 {serving}) ORDER BY id"
        )
        resting = [Row(*row) for row in rows]
        leases = connection.execute(
            "SELECT port, launch_id FROM ports WHERE launch_id IS NOT NULL ORDER BY port"
        ).fetchall()
        owner = connection.execute("SELECT value FROM meta WHERE name = 'instance_id'").fetchone()
        return Stored(stored, resting, leases, owner[0] if owner else None)


def check(
    state_db: Path, instance: str, ports: tuple[int, int], proxies: int | None = None
) -> list[str]:
    """One look at everything; what is wrong, or nothing.

    While something is under way the processes are a step ahead of the rows or behind them: call
    this when all has come to rest, or until it is content.
    """
    world = World.look(state_db, instance, ports, proxies)
    problems = world.problems()
    if world.stored.instance not in (None, instance):
        # Looking for the wrong marker would find nothing, and nothing wrong.
        problems.append(f"the database is of instance {world.stored.instance}, not of {instance}")
    return problems


def assert_clean(
    state_db: Path,
    instance: str,
    ports: tuple[int, int],
    *,
    proxies: int | None = None,
    timeout: float = 0.0,
) -> None:
    """Fail with all problems, if there are any left at the deadline.

    With a timeout this blocks the event loop; a controller on that loop cannot mend anything then.
    """
    problems: list[str] = []

    def clean() -> bool:
        problems[:] = check(state_db, instance, ports, proxies)
        return not problems

    try:
        until_sync(clean, timeout=timeout, what="a clean world")
    except AssertionError:
        raise AssertionError("\n".join(["the world is not clean:", *problems])) from None


def kill_all(instance: str, *, timeout: float = 5.0) -> list[Marked]:
    """SIGKILL every process of an instance, for the clean-up after a failure. Returns them.

    Again and again until none is left: they may fork meanwhile.
    """
    killed: dict[int, Marked] = {}

    def gone() -> bool:
        left = marked_processes(instance)
        for process in left:
            _kill(process)
            killed[process.pid] = process
        return not left

    until_sync(gone, timeout=timeout, what=f"the end of every process of instance {instance}")
    return list(killed.values())


def _kill(process: Marked) -> None:
    """SIGKILL through a descriptor checked after it was opened: the pid may be another's by now."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(process.pid)
        try:
            seen = _marked(process.pid)
            if seen and (seen.instance, seen.launch_id) == (process.instance, process.launch_id):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)
