"""The socket that callers connect to: opens it, and stops new connections without losing waiting ones."""

import contextlib
import ctypes
import socket
import struct

from model_deployment.core.errors import StateError

#: linux/socket.h; the module ``socket`` does not have them.
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27

#: Classic BPF over the TCP header: drop segments with SYN (flag 2 of byte 13), pass all others.
_NO_SYN = (
    (0x30, 0, 0, 13),  # ldb [13]
    (0x45, 0, 1, 0x02),  # jset #2, next, after next
    (0x06, 0, 0, 0),  # ret 0
    (0x06, 0, 0, 0xFFFFFFFF),  # ret all
)


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen.

    Raises:
        StateError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Here and not later in the server: callers during the recovery wait instead of being refused.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise StateError(
            f"cannot listen on {host}:{port}: {error.strerror}. Set MODEL_DEPLOYMENT_HOST or "
            "MODEL_DEPLOYMENT_PORT to another address"
        ) from error
    return listener


def admit_no_more(listener: socket.socket) -> None:
    """Have the kernel ignore new connections; those under way are not touched.

    Closing a listening socket resets the connections in its queue, whose callers may have sent a request
    already; while callers come faster than they are accepted, the queue is never empty. An ignored caller
    tries again after a second (RFC 6298, 2.1), and is refused then, or answered by the next controller.

    Source: packet(7) and Documentation/networking/filter.rst of Linux, "struct sock_fprog".
    """
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in _NO_SYN))
    program = struct.pack("HP", len(_NO_SYN), ctypes.addressof(code))
    # On a kernel without filters the connections in the queue at the end are lost.
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def admit_again(listener: socket.socket) -> None:
    """Undo :func:`admit_no_more`, for a socket that others share."""
    with contextlib.suppress(OSError):  # there is no filter
        listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
