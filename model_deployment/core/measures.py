"""What is measured and counted of launches: requests, memory, health. Values without effects."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

#: Upper bounds of the histogram of rows in a batch; one more bucket has no bound.
BATCH_ROWS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)


@dataclass(frozen=True, slots=True)
class LaunchTraffic:
    """What proxies have seen of one launch."""

    in_flight: int = 0
    #: Age of the oldest unanswered request, in seconds.
    oldest: float = 0.0
    answered: int = 0
    #: Consecutive time-outs; any answer resets the count.
    timeouts_in_row: int = 0
    #: Requests whose bodies are being received or checked.
    reading: int = 0
    #: Seconds since the last request ended; 0 while there is one, or while none can arrive.
    idle: float = 0.0


@dataclass(frozen=True, slots=True)
class ProxyCounters:
    """What proxies have counted of one deployment since this controller began to route to it."""

    #: Whether a signature is there to check requests against; None while nothing is served.
    checked: bool | None = None
    #: Requests refused because they do not fit the signature.
    refused: int = 0
    #: Violations by column and kind; under ``""`` those that concern no column of the signature.
    violations: Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: Calls of the model that carried several requests, or a part of a large one.
    batches: int = 0
    #: Rows in those calls.
    batched_rows: int = 0
    #: Histogram of the rows of those calls: a count for each of ``BATCH_ROWS``, and one beyond.
    batch_sizes: tuple[int, ...] = (0,) * (len(BATCH_ROWS) + 1)
    #: Why requests are no longer merged, if merging was on.
    unmergeable: str = ""
    #: Requests now without a complete answer.
    in_flight: int = 0
    #: Of these, requests of which nothing was sent to the model yet.
    waiting: int = 0
    #: Bytes of request bodies held in memory now.
    held: int = 0


@dataclass(frozen=True, slots=True)
class HeldFigures:
    """What proxies hold in memory for callers, by kind: ``prediction``, ``call`` or ``answer``."""

    #: Bytes that they may hold together.
    limit: int = 0
    #: Bytes now.
    held: Mapping[str, int] = field(default_factory=dict)
    #: Requests that were refused since the controller began.
    refused: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of all processes of a launch, in bytes."""

    #: Resident set size; shared pages count once for each process.
    rss: int
    #: Proportional set size; None where it cannot be read.
    pss: int | None
    #: Unique set size, which is freed when the processes end; None where it cannot be read.
    uss: int | None = None
    #: Whether it was forked from a parent that had imported libraries; None where it is not known.
    forked: bool | None = None


def total_memory(parts: Sequence[Memory], forked: bool | None = None) -> Memory:
    """The sum; what could not be read of a part is not known of the sum either."""
    return Memory(
        sum(part.rss for part in parts),
        _sum_if_known(part.pss for part in parts),
        _sum_if_known(part.uss for part in parts),
        forked,
    )


def _sum_if_known(parts: Iterable[int | None]) -> int | None:
    found = [*parts]
    known = [part for part in found if part is not None]
    return sum(known) if len(known) == len(found) else None


@dataclass(frozen=True, slots=True)
class MachineMemory:
    """Memory of the machine, or of the container that the controller runs in, in bytes."""

    total: int
    #: What new processes can take without swapping.
    available: int


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """How many of the several workers of a launch serve."""

    #: Workers that have loaded the model.
    serving: int
    workers: int
    #: Why the last worker that failed to load the model failed, while its start is repeated.
    load_failure: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Results of the health checks of one launch; ``failures`` are consecutive."""

    healthy: bool = False
    failures: int = 0
