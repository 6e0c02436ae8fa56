"""What the headers of a request say of its body, and whether as much has come. Pure.

The server ends a body where its headers say (RFC 9112, section 6.3). Should it ever lose one, nobody may
take that for a request without a body: a deploy would go on without its options.
"""

from collections.abc import Mapping

from model_deployment.core.errors import IncompleteBody


def content_length(headers: Mapping[bytes, bytes]) -> int | None:
    """The declared length of a body in bytes; None if there is none, or no number."""
    value = headers.get(b"content-length", b"")
    return int(value) if value.isdigit() and len(value) < 20 else None


def announces_body(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request has a body."""
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


def ensure_whole(declared: int, size: int) -> None:
    """Make sure that so many bytes are all of a body.

    Raises:
        IncompleteBody: others are declared.
    """
    if declared != size:
        raise IncompleteBody(
            f"cannot use the request: its headers announce {declared} bytes, and {size} came. Nothing was "
            "done; send it again"
        )
