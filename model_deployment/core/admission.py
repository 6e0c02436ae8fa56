"""Whether memory has room for one more model, and which deployment is parked if it has not. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from model_deployment.core.domain import Deployment, Desired, LaunchTraffic, State
from model_deployment.core.names import ModelKey
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

    def need(self, options: Options, measured: int | None) -> int:
        """Memory that a deployment needs: the last measurement, else a guess."""
        if measured is not None:
            return measured
        return (self.guess_of_fork if options.forks else self.guess) * options.workers

    def shortage(
        self, key: ModelKey, options: Options, measured: int | None, rows: Sequence[Deployment]
    ) -> str:
        """Why memory has no room for a deployment beside the others; empty if it has.

        Deployments that are starting count with all that they need. The memory of deployments that may be
        parked counts as free.
        """
        if not self.margin:
            return ""
        others = [row for row in rows if row.key != key]
        coming = self._sum(row for row in others if _is_starting(row))
        parkable = self._sum(row for row in others if _parkable(row))
        need, free = self.need(options, measured), self.free()
        if need + coming + self.margin <= free + parkable:
            return ""
        how = "as last measured" if measured is not None else "an estimate"
        on_their_way = (
            f", {_shown(coming)} of it reserved for models that are starting" if coming else ""
        )
        return (
            f"it needs {_shown(need)} of memory ({how}), {_shown(free + parkable)} are "
            f"free{on_their_way}, and {_shown(self.margin)} must stay free"
        )

    def is_full_for(self, row: Deployment, rows: Sequence[Deployment]) -> bool:
        """Whether memory has no room for the process of a deployment now."""
        if not self.margin:
            return False
        starting = self._sum(
            other for other in rows if other.state is State.STARTING and other.key != row.key
        )
        return self._needed(row) + starting + self.margin > self.free()

    def _sum(self, rows: Iterable[Deployment]) -> int:
        return sum(self._needed(row) for row in rows)

    def _needed(self, row: Deployment) -> int:
        return self.need(row.options, row.memory)


def _is_starting(row: Deployment) -> bool:
    pending = row.state is State.PENDING and row.desired is Desired.RUNNING
    return pending or row.state is State.STARTING


def _parkable(row: Deployment) -> bool:
    return row.state is State.READY and row.options.idle_timeout > 0 and row.memory is not None


def longest_idle(
    rows: Sequence[Deployment], traffic: Callable[[str], LaunchTraffic]
) -> list[ModelKey]:
    """Deployments that may be parked for the sake of others, the longest idle first."""
    idle = [
        (traffic(row.launch_id).idle, row.key)
        for row in rows
        if row.state is State.READY and row.options.idle_timeout and row.launch_id
    ]
    return [key for seconds, key in sorted(idle, reverse=True) if seconds >= MIN_IDLE]


def choose_evicted(
    rows: Sequence[Deployment], unplaced: int, traffic: Callable[[str], LaunchTraffic]
) -> frozenset[ModelKey]:
    """Deployments to park since other launches found no place.

    Args:
        unplaced: launches without a place; each deployment that stops already makes one.
        traffic: what the proxy saw of a launch.
    """
    needed = unplaced - sum(row.state is State.STOPPING for row in rows)
    return frozenset(longest_idle(rows, traffic)[:needed]) if needed > 0 else frozenset()


def _shown(size: int) -> str:
    return f"{max(0, size) / _MEGABYTE:.0f} MB"
