"""Which version of an endpoint answers a request. Pure.

Each request has a position from 0 to 1, a hash of its key with the rollout's id as salt. The candidate gets
the requests below its share. So one key always meets the same version, in every proxy; a share that grows
moves nobody back; and other rollouts draw other callers.
"""

from hashlib import blake2b

_STEPS = 53  # bits that a float holds exactly

#: Requests with the same value meet the same version; without it, each request is a draw of its own.
ROUTE_KEY = b"x-route-key"

CANARY, SHADOW = b"canary", b"shadow"


def position(rollout: int, key: bytes, draw: bytes = CANARY) -> float:
    """Where a request stands, at least 0 and below 1.

    Args:
        draw: what is drawn for: positions of different draws are independent.
    """
    digest = blake2b(key, digest_size=8, salt=rollout.to_bytes(8, "big"), person=draw).digest()
    return (int.from_bytes(digest, "big") >> (64 - _STEPS)) / (1 << _STEPS)
