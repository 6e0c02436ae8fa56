"""What a process does that serves many connections, before the first one."""

import gc
import resource


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
