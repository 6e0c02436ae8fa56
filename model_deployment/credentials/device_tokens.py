"""Tokens of devices: bearer tokens (RFC 6750) of 256 random bits, which are stored as their SHA-256.

No token is ever compared with passwords. Only the controller can look a token up; a proxy passes it on.
"""

import hashlib
import re
import time
from collections.abc import Awaitable, Callable

from model_deployment.core.devices import TOKEN_PREFIX
from model_deployment.core.errors import Unauthenticated
from model_deployment.core.users import Role, User

_PREFIX = TOKEN_PREFIX.encode()
_TOKEN = re.compile(rb"%b[A-Za-z0-9_-]{43}" % _PREFIX)

#: Seconds that a result counts, so that changes made elsewhere are heeded soon; results in a cache.
_TRUSTED = 0.5
_CACHED = 8192

#: Finds a device by the SHA-256 of its token, in hexadecimal digits; None if the token is no longer good.
Lookup = Callable[[str], Awaitable[User | None]]

#: Who sends a token where nobody can look it up. Such a request may only be passed on to the controller.
UNVERIFIED = User("", Role.DEVICE)


def token_of(authorization: bytes | None) -> bytes | None:
    """The token of a device in an ``Authorization`` header, good or not; None if there is no such token."""
    if authorization is None:
        return None
    scheme, _, rest = authorization.partition(b" ")
    token = rest.strip()
    return token if scheme.lower() == b"bearer" and token.startswith(_PREFIX) else None


def token_hash(token: bytes) -> str:
    """What is stored of a token: its SHA-256, in hexadecimal digits."""
    return hashlib.sha256(token).hexdigest()


class DeviceTokens:
    """The devices whose tokens are good, now."""

    def __init__(self, lookup: Lookup, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            clock: seconds.
        """
        self._lookup = lookup
        self._clock = clock
        #: By hash of the token: when it was looked up, and its device.
        self._known: dict[str, tuple[float, User]] = {}
        #: Changes with each :meth:`forget`: what was looked up before does not count afterwards.
        self._epoch = 0

    async def user(self, token: bytes) -> User:
        """The device with a token.

        Raises:
            Unauthenticated: the token is of no device, or no longer good.
        """
        found = await self._find(token) if _TOKEN.fullmatch(token) else None
        if found is None:
            raise Unauthenticated(
                "cannot accept this token: no device has it, or it was revoked or replaced; register the "
                "device again with a new code, which an operator makes"
            )
        return found

    def forget(self) -> None:
        """Look all tokens up again: one was revoked or replaced, or a device or a project was removed."""
        self._known.clear()
        self._epoch += 1

    async def _find(self, token: bytes) -> User | None:
        hashed, now, epoch = token_hash(token), self._clock(), self._epoch
        at, user = self._known.get(hashed, (-_TRUSTED, None))
        if user is not None and now - at < _TRUSTED:
            return user
        self._known.pop(hashed, None)
        user = await self._lookup(hashed)
        if epoch != self._epoch:
            return await self._lookup(hashed)  # it may have been revoked meanwhile
        if user is not None:
            if len(self._known) >= _CACHED:
                del self._known[next(iter(self._known))]
            self._known[hashed] = now, user
        return user
