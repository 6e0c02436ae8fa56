"""Authenticates requests by HTTP basic authentication (RFC 7617), or by bearer tokens (RFC 6750).

OpenAI's clients have bearer tokens only. A token is a password, or ``<name>:<password>``. Only the hashes
tell whose password it is, so a password alone is compared with the hash of each user, once: the result is
cached. Anyone can send such tokens, so few of them are checked at a time. With more than
:data:`USERS_OF_TOKENS` users, or with a hash of a higher cost than :data:`COST_OF_TOKENS`, a token has to
name its user.

A token of a device is never a password: see ``device_tokens``.

Results are cached by a keyed digest of the header, so that no password stays in memory; the key is of this
process. Changed files are read again within a second.
"""

import asyncio
import binascii
import hashlib
import logging
import os
import secrets
import time
from base64 import b64decode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import bcrypt

from model_deployment.core.errors import CredentialsError, Unauthenticated, Unavailable
from model_deployment.core.users import Role, User
from model_deployment.credentials import device_tokens, htpasswd
from model_deployment.credentials.device_tokens import DeviceTokens
from model_deployment.credentials.htpasswd import CALLERS, OPERATORS, Users

_log = logging.getLogger(__name__)

#: Seconds between checks for changed files; results in a cache; password checks that may wait.
_RELOAD = 1.0
_CACHED = 1024
_WAITING = 64
#: Checks of tokens without a name that may wait: each takes as many hashes as there are users.
_NAMELESS_WAITING = 4

#: Users with whose hashes a token is compared that does not name its user, and the highest cost of these
#: hashes: at cost 4, 32 hashes take about 30 ms, and each further cost doubles that.
USERS_OF_TOKENS = 32
COST_OF_TOKENS = 5

#: The user of all requests while there are no credentials, which only a controller on loopback allows.
NOBODY = User("", Role.OPERATOR)

T = TypeVar("T")

_Signature = tuple[tuple[int, int, int] | None, ...]


class Credentials:
    """The users in the files of a folder, now."""

    def __init__(
        self, folder: Path, *, required: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            folder: the one with the htpasswd files.
            required: requests need a password, also if the files are missing.
        """
        self._folder = folder
        self._always = required
        self._clock = clock
        self._users: Users | None = None
        self._signature: _Signature = ()
        self._checked_at = -_RELOAD
        #: By digest of a header: its user, and the hash that its password fits.
        self._good: dict[bytes, tuple[User, str]] = {}
        self._bad: dict[bytes, None] = {}
        #: Concurrent requests with equal headers share one check.
        self._checking: dict[bytes, asyncio.Future[User | None]] = {}
        #: Those of them that are of tokens without a name.
        self._nameless: set[bytes] = set()
        self._key = secrets.token_bytes(32)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        self._devices: DeviceTokens | None = None

    def open(self) -> None:
        """Read the files.

        Raises:
            CredentialsError: a file cannot be read, or there is no operator and that is not ``required``.
        """
        if self._always:
            self._users = Users({}, {})
            self._reload_if_changed()
        elif htpasswd.exist(self._folder):
            self._signature = self._current_signature()
            self._users = htpasswd.read(self._folder)
            if not self._users.operators:
                raise CredentialsError(
                    f"cannot use the credentials in {self._folder}: there is no operator; add one with "
                    "'model-deployment users add NAME --role operator'"
                )

    def look_devices_up(self, devices: DeviceTokens) -> None:
        """Have tokens of devices looked up. Without it, as in a proxy, they are passed on unverified."""
        self._devices = devices

    @property
    def required(self) -> bool:
        """Whether requests need a password. Once they do, they do until the end of this process."""
        return self._users is not None

    async def user(self, authorization: bytes | None) -> User | None:
        """The user whose password the header carries; None if it is not valid.

        Raises:
            Unavailable: too many password checks wait.
            Unauthenticated: it is a token without a name, and these users need one; or a device's that is
                not good.
        """
        # First, also where nobody needs a password: a device is a device, and nothing more.
        if (token := device_tokens.token_of(authorization)) is not None:
            if self._devices is None:
                return device_tokens.UNVERIFIED
            return await self._devices.user(token)
        self._reload_if_changed()
        users = self._users
        if users is None:
            return NOBODY
        if authorization is None:
            return None
        digest = hashlib.blake2b(authorization, key=self._key).digest()
        if digest in self._good:
            return self._good[digest][0]
        given = None if digest in self._bad else _decode(authorization)
        if given is None:
            return None
        checking = self._checking.get(digest) or self._begin_check(users, digest, *given)
        # Shielded: other requests may wait for the same check.
        return await asyncio.shield(checking)

    def _begin_check(
        self, users: Users, digest: bytes, name: str | None, password: bytes
    ) -> asyncio.Future[User | None]:
        names = _users_of_token(users) if name is None else [name]
        waiting, most = len(self._checking) - len(self._nameless), _WAITING
        if name is None:
            waiting, most = len(self._nameless), _NAMELESS_WAITING
        if waiting >= most:
            raise Unavailable("cannot check the password now: too many checks wait", retry_after=1)
        checking = asyncio.ensure_future(self._verify(users, digest, names, password))
        self._checking[digest] = checking
        if name is None:
            self._nameless.add(digest)
        checking.add_done_callback(lambda _: self._end_check(digest))
        return checking

    def _end_check(self, digest: bytes) -> None:
        self._checking.pop(digest, None)
        self._nameless.discard(digest)

    async def _verify(
        self, users: Users, digest: bytes, names: Sequence[str], password: bytes
    ) -> User | None:
        loop = asyncio.get_running_loop()
        found = hashed = None
        for name in names:
            role, hashed = users.role(name), users.hashed(name)
            # An unknown name costs a hash too, so that the time does not reveal whether the name exists.
            good = await loop.run_in_executor(
                self._thread, _check, password, hashed or users.slowest
            )
            if good and role is not None and hashed:
                found = User(name, role)
                break
        if users is self._users:  # else the files have changed meanwhile
            if found is None:
                _cache(self._bad, digest, None)
            else:
                _cache(self._good, digest, (found, hashed or ""))
        return found

    def _reload_if_changed(self) -> None:
        now = self._clock()
        if now - self._checked_at < _RELOAD:
            return
        self._checked_at = now
        signature = self._current_signature()
        if signature == self._signature or (self._users is None and not any(signature)):
            return
        self._signature = signature
        try:
            self._users = htpasswd.read(self._folder)
            _log.info("the credentials in %s have changed and were read again", self._folder)
        except CredentialsError as error:
            # Nobody gets in, rather than a user who was removed.
            self._users = Users({}, {})
            _log.error("all requests are refused until the credentials can be read: %s", error)
        self._drop_outdated(self._users)

    def _drop_outdated(self, users: Users) -> None:
        """Drop cached results of users whose password or role has changed."""
        self._bad.clear()
        self._good = {
            digest: (user, hashed)
            for digest, (user, hashed) in self._good.items()
            if users.hashed(user.name) == hashed and users.role(user.name) is user.role
        }

    def _current_signature(self) -> _Signature:
        return tuple(_signature(self._folder / name) for name in (OPERATORS, CALLERS))

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def _cache(known: dict[bytes, T], digest: bytes, found: T) -> None:
    if len(known) >= _CACHED:
        del known[next(iter(known))]
    known[digest] = found


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - faster than Path.stat
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _decode(authorization: bytes) -> tuple[str | None, bytes] | None:
    """The name and the password of a header; the name is None for a token that has none."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        token = encoded.strip()
        before, colon, after = token.partition(b":")
        if colon and htpasswd.is_name(name := before.decode("latin-1")):
            return name, after
        return None, token
    if scheme.lower() != b"basic":
        return None
    try:
        before, colon, password = b64decode(encoded.strip(), validate=True).partition(b":")
        return (before.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _users_of_token(users: Users) -> Sequence[str]:
    """The users whose password a token without a name may be.

    Raises:
        Unauthenticated: they are too many, or their hashes take too long.
    """
    known = {*users.callers, *users.operators}
    if len(known) > USERS_OF_TOKENS or users.highest_cost > COST_OF_TOKENS:
        raise Unauthenticated(
            "cannot tell whose password this bearer token is: send <name>:<password> as the token "
            "(OpenAI's clients: as api_key). A password alone does only for at most "
            f"{USERS_OF_TOKENS} users, with bcrypt hashes of at most cost {COST_OF_TOKENS}"
        )
    return sorted(known)


def _check(password: bytes, hashed: str) -> bool:
    if not password or len(password) > htpasswd.LONGEST or b"\0" in password:
        return False
    try:
        return bcrypt.checkpw(password, hashed.encode())
    except ValueError as error:  # a hash in the right form that bcrypt cannot use
        _log.error("cannot check a password: %s", error)
        return False
