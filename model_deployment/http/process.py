"""What a process does that serves many connections, before the first one."""

import gc
import resource

#: Descriptors that WebSockets leave for everything else, unless there are few of them.
_FOR_ALL_ELSE = 1024


def prepare_for_connections() -> None:
    """Allow as many descriptors as the system lets, and have the garbage collector run seldom.

    Each call under way has two descriptors, so the usual soft limit of 1024 is soon reached. The collector
    runs by default after each 700 new objects, some ten requests: a twelfth of the processor time, and
    pauses of several milliseconds, for cycles that requests do not leave.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def most_tunnels(wanted: int) -> int:
    """Tunnels that this process may have: two descriptors each, and enough are left for everything else."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(most - _FOR_ALL_ELSE, most // 2) // 2)
