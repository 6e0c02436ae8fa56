"""With how many threads each worker process of a launch computes. Pure."""

from collections.abc import Iterable

from model_deployment.core.domain import Deployment, Desired
from model_deployment.core.options import AUTO, Options
from model_deployment.core.replica_counts import replica_counts


def threads_of(options: Options, cores: int, processes: int) -> int:
    """The number for one worker process of a launch that is about to start.

    With ``auto``, half of the cores are divided among the worker processes of all deployments that are to
    run, and each has one thread at least. The other half is for proxies, and more predictions at the same
    time: 16 callers of a small model got 3 times as many answers with one thread as with two, on two cores.
    A container has its own processors.

    Args:
        cores: processors that this machine lets its processes use.
        processes: worker processes of all deployments that are to run, with those of this launch.
    """
    if options.threads != AUTO:
        return int(options.threads)
    if options.contained:
        return max(1, round(options.processors / options.workers))
    return max(1, cores // (2 * max(1, processes)))


def worker_processes(rows: Iterable[Deployment]) -> int:
    """The worker processes of all deployments that are to run outside of containers.

    Those of a parked deployment count: its next request starts them.
    """
    return sum(
        row.options.workers * max(row.options.replicas.min, replica_counts(row).wanted)
        for row in rows
        if row.desired is Desired.RUNNING and not row.options.contained
    )
