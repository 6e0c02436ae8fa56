"""The length of a body that the headers announce, and whether all of it came. Pure.

The server ends a body where its headers say (RFC 9112, section 6.3). If it ever lost a body, the request
must not pass for one without: a deploy would go on without its options.
"""

from collections.abc import Mapping

from model_deployment.core.errors import IncompleteBody


def content_length(headers: Mapping[bytes, bytes]) -> int | None:
    """The declared length of a body in bytes; None if there is none, or not a number."""
    value = headers.get(b"content-length", b"")
    return int(value) if value.isdigit() and len(value) < 20 else None


def announces_body(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request has a body, by its headers."""
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


def ensure_whole(declared: int, size: int) -> None:
    """
    Raises:
        IncompleteBody: the body has another size than declared; both in bytes.
    """
    if declared != size:
        raise IncompleteBody(
            f"cannot use the request: its headers announce {declared} bytes, but {size} bytes arrived. "
            f"Nothing was done; send the request again"
        )
