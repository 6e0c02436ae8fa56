"""Which errors of MongoDB concern the server, and which a document."""

from typing import Any

from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, WriteConcernError

_DUPLICATE = 11000

#: Codes that concern the server: not primary, shutting down, no rights, no room, out of time, out of
#: memory, a write concern that is not met. Any other code is the fault of a document.
SERVER = frozenset(
    {1, 6, 7, 8, 11, 13, 18, 20, 24, 26, 39, 43, 46, 50, 59, 63, 64, 79, 89, 91, 96, 100, 112, 133, 134}
    | {146, 149, 150, 189, 202, 225, 234, 237, 262, 290, 317, 358, 365, 384, 391, 402, 8000, 9001}
    | {10003, 10058, 10107, 11600, 11601, 11602, 13388, 13435, 13436, 14031}
)  # fmt: skip


def is_known(failure: dict[str, Any]) -> bool:
    """Whether a failed insert met its own ``_id``, rather than a unique index that somebody added."""
    return failure.get("code") == _DUPLICATE and failure.get("keyPattern", {"_id": 1}) == {"_id": 1}


def concerns_server(error: OperationFailure) -> bool:
    if isinstance(error, BulkWriteError | DuplicateKeyError):
        return False
    if isinstance(error, WriteConcernError) or error.timeout:
        return True
    return error.code is None or error.code in SERVER
