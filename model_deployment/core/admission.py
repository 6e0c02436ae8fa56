"""Whether memory has room for one more model, and which deployment is parked if it has not. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from model_deployment.core.domain import Deployment, Desired, Launch, LaunchRole, LaunchState, State
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.names import ModelKey
from model_deployment.core.option_changes import measured_alike
from model_deployment.core.options import Options

#: Seconds without a request before a deployment may be parked for the sake of another.
MIN_IDLE = 0.5

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Admission:
    """Sizes in bytes."""

    #: Memory that new processes could have now.
    free: Callable[[], int]
    #: Memory of a server process whose model was not measured yet.
    guess: int
    #: The same for a fork, which shares what its parent has imported.
    guess_of_fork: int
    #: Memory that has to stay free; 0 turns the check off.
    margin: int
    #: What a launch with these artifacts and options needs beside itself, and other launches may share: the
    #: name of a warm parent that has to be started, and its bytes (0: there is one, or none is needed).
    parent: Callable[[str, Options], tuple[str, int]] = lambda artifact, options: ("", 0)

    #: Bytes that a process takes for these artifacts while it loads them; 0 where that is not known.
    loading: Callable[[str], int] = lambda artifact: 0

    def need(self, options: Options, measured: int | None, artifact: str) -> int:
        """Memory that a deployment needs: the last measurement, else a guess from the size of its files."""
        if measured is not None:
            return measured
        process = self.guess_of_fork if options.forks else self.guess
        # Forks load a model once, and most share it; other processes load it each, and all at once.
        times = 1 if options.forks or options.contained else options.workers
        return process * options.workers + times * self.loading(artifact)

    def shortage(
        self,
        key: ModelKey,
        options: Options,
        measured: int | None,
        rows: Sequence[Deployment],
        artifact: str = "",
    ) -> str:
        """Why memory has no room for one more launch of a deployment beside the others; empty if it has.

        Launches that are starting, or wait to start, count with all that they need. Those of the same
        deployment count if it serves already; otherwise they are what is asked for. The memory of other
        deployments that may be parked counts as free.
        """
        if not self.margin:
            return ""
        starting = [
            (row, one)
            for row in rows
            if row.key != key or row.ready
            for one in row.launches
            if _is_starting(row, one)
        ]
        artifact = artifact or next((row.artifact for row in rows if row.key == key), "")
        own = dict([self.parent(artifact, options)])
        coming = self._together(starting, but=own)
        parkable = sum(
            self._needed(row, one)
            for row in rows
            if row.key != key and _parkable(row)
            for one in row.serving
            if one.is_live
        )
        need, free = self.need(options, measured, artifact) + sum(own.values()), self.free()
        if need + coming + self.margin <= free + parkable:
            return ""
        loading = self.loading(artifact) if measured is None else 0
        how = "as last measured" if measured is not None else "an estimate"
        if loading > _MEGABYTE:
            how += f", {_shown(loading)} of it to load its files"
        on_their_way = (
            f", {_shown(coming)} of it reserved for models that are starting" if coming else ""
        )
        return (
            f"it needs {_shown(need)} of memory ({how}), {_shown(free + parkable)} are "
            f"free{on_their_way}, and {_shown(self.margin)} must stay free"
        )

    def is_full_for(self, row: Deployment, launch: Launch, rows: Sequence[Deployment]) -> bool:
        """Whether memory has no room for the processes of a pending launch now."""
        if not self.margin:
            return False
        starting = [
            (other, one)
            for other in rows
            for one in other.launches
            if one.state is LaunchState.STARTING
        ]
        return self._together([(row, launch), *starting], but={}) + self.margin > self.free()

    def _together(
        self, launches: Sequence[tuple[Deployment, Launch]], but: Mapping[str, int]
    ) -> int:
        """What launches need, and the parents that they share, without those that are counted already."""
        parents = dict(self.parent(one.artifact, one.options) for _, one in launches)
        shared = sum(size for name, size in parents.items() if name not in but)
        return shared + sum(self._needed(row, one) for row, one in launches)

    def _needed(self, row: Deployment, launch: Launch) -> int:
        alike = measured_alike(row, launch.options, launch.artifact)
        return self.need(launch.options, row.memory if alike else None, launch.artifact)


def _is_starting(row: Deployment, launch: Launch) -> bool:
    wanted = row.desired is Desired.RUNNING and launch.role is not LaunchRole.RETIRING
    pending = launch.state is LaunchState.PENDING and wanted
    return pending or launch.state is LaunchState.STARTING


def _parkable(row: Deployment) -> bool:
    return _parkable_by_options(row) and row.memory is not None


def _parkable_by_options(row: Deployment) -> bool:
    replaced = row.replacement is not None and row.replacement.under_way
    return (
        row.state is State.READY
        and row.options.idle_timeout > 0
        and not replaced
        and not row.parking
    )


def longest_idle(
    rows: Sequence[Deployment], traffic: Callable[[str], LaunchTraffic]
) -> list[ModelKey]:
    """Deployments that may be parked for the sake of others, the longest idle first.

    One that has requests at any of its launches is not idle.
    """
    idle = [(_idle(row, traffic), row.key) for row in rows if _parkable_by_options(row)]
    return [key for seconds, key in sorted(idle, reverse=True) if seconds >= MIN_IDLE]


def _idle(row: Deployment, traffic: Callable[[str], LaunchTraffic]) -> float:
    """Seconds since the last request of a ready deployment."""
    return min(traffic(one.launch_id).idle for one in row.ready if one.launch_id)


def choose_evicted(
    rows: Sequence[Deployment], unplaced: int, traffic: Callable[[str], LaunchTraffic]
) -> frozenset[ModelKey]:
    """Deployments to park since launches of others found no place.

    Args:
        unplaced: launches without a place; each launch that stops already makes one.
        traffic: what the proxies saw of a launch.
    """
    places = {row.key: sum(one.is_live for one in row.serving) for row in rows}
    needed = unplaced - sum(
        one.state is LaunchState.STOPPING for row in rows for one in row.launches
    )
    chosen = set()
    for key in longest_idle(rows, traffic):
        if needed <= 0:
            break
        chosen.add(key)
        needed -= places[key]
    return frozenset(chosen)


def _shown(size: int) -> str:
    return f"{max(0, size) / _MEGABYTE:.0f} MB"
