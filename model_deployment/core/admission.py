"""Whether there is memory for one more model, and who gives up its place if there is not. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from model_deployment.core.domain import Deployment, Desired, LaunchTraffic, State
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options

#: A model is not parked for another's sake before nobody has used it for so many seconds.
SPARED = 0.5

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Admission:
    """The figures to go by, in bytes."""

    #: What there is for new processes, asked each time.
    free: Callable[[], int]
    #: What a server process takes whose model was not measured yet.
    guess: int
    #: The same of a fork, which shares what its parent has imported.
    guess_of_fork: int
    #: What has to be left; 0 leaves memory out of it.
    margin: int

    def need(self, options: Options, measured: int | None) -> int:
        """What a deployment takes, as it was last measured, or else by a guess."""
        if measured is not None:
            return measured
        return (self.guess_of_fork if options.forks else self.guess) * options.workers

    def shortage(
        self, key: ModelKey, options: Options, measured: int | None, rows: Sequence[Deployment]
    ) -> str:
        """Why a deployment would not fit beside others, in the figures of both; empty if it does.

        Those that are on their way count with all that they need. What idle ones would give up counts as
        free where they may be parked.
        """
        if not self.margin:
            return ""
        others = [row for row in rows if row.key != key]
        coming = self._sum(row for row in others if _comes(row))
        parkable = self._sum(row for row in others if _parkable(row))
        need, free = self.need(options, measured), self.free()
        if need + coming + self.margin <= free + parkable:
            return ""
        how = "as measured before" if measured is not None else "by a guess"
        on_their_way = f", {_shown(coming)} of it for models that are starting" if coming else ""
        return (
            f"it needs {_shown(need)} of memory ({how}), {_shown(free + parkable)} are free{on_their_way}, "
            f"and {_shown(self.margin)} have to be left"
        )

    def tight(self, row: Deployment, rows: Sequence[Deployment]) -> bool:
        """Whether there is no room for its process now."""
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


def _comes(row: Deployment) -> bool:
    pending = row.state is State.PENDING and row.desired is Desired.RUNNING
    return pending or row.state is State.STARTING


def _parkable(row: Deployment) -> bool:
    return row.state is State.READY and row.options.idle_timeout > 0 and row.memory is not None


def longest_idle(
    rows: Sequence[Deployment], traffic: Callable[[str], LaunchTraffic]
) -> list[ModelKey]:
    """Those that may be parked for another's sake, the one first that nobody has used for longest."""
    idle = [
        (traffic(row.launch_id).idle, row.key)
        for row in rows
        if row.state is State.READY and row.options.idle_timeout and row.launch_id
    ]
    return [key for seconds, key in sorted(idle, reverse=True) if seconds >= SPARED]


def _shown(size: int) -> str:
    return f"{max(0, size) / _MEGABYTE:.0f} MB"
