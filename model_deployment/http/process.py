"""What a process does that serves many connections, before the first one."""

import contextlib
import ctypes
import gc
import resource

#: Descriptors that WebSockets leave for everything else, unless there are few of them.
_FOR_ALL_ELSE = 1024

#: Of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
#: Bytes from which a piece is the kernel's; unused bytes at the end of the heap that are kept.
_LARGE_PIECE, _UNUSED_END = 128 * 1024, 1024 * 1024
#: Heaps of threads: each keeps what it had at most.
_ARENAS = 2


def prepare_for_connections() -> None:
    """Allow as many descriptors as the system lets, and have the garbage collector run seldom.

    Each call under way has two descriptors, so the usual soft limit of 1024 is soon reached. The collector
    runs by default after each 700 new objects, some ten requests: a twelfth of the processor time, and
    pauses of several milliseconds, for cycles that requests do not leave.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _keep_bodies_out_of_the_heap()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _keep_bodies_out_of_the_heap() -> None:
    """Have the C library give the memory of large pieces back as soon as they are freed.

    By default it raises the size from which it asks the kernel for each piece (128 KiB) to that of the
    largest piece which was freed, up to 32 MiB. Bodies then lie in one heap, which shrinks at its end only:
    a small object behind them keeps it as large as it ever was. Any call of mallopt(3) that sets the size
    keeps it.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_PIECE)
        libc.mallopt(_M_TRIM_THRESHOLD, _UNUSED_END)
        libc.mallopt(_M_ARENA_MAX, _ARENAS)


def most_tunnels(wanted: int) -> int:
    """Tunnels that this process may have: two descriptors each, and enough are left for everything else."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(most - _FOR_ALL_ELSE, most // 2) // 2)
