"""Authenticates requests by HTTP basic authentication (RFC 7617).

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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import bcrypt

from model_deployment.core.domain import Role, User
from model_deployment.core.errors import CredentialsError, Unavailable
from model_deployment.credentials import htpasswd
from model_deployment.credentials.htpasswd import CALLERS, OPERATORS, Users

_log = logging.getLogger(__name__)

#: Seconds between checks for changed files; results in a cache; password checks that may wait.
_RELOAD = 1.0
_CACHED = 1024
_WAITING = 64

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
        self._key = secrets.token_bytes(32)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")

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

    @property
    def required(self) -> bool:
        """Whether requests need a password. Once they do, they do until the end of this process."""
        return self._users is not None

    async def user(self, authorization: bytes | None) -> User | None:
        """The user whose password the header carries; None if it is not valid.

        Raises:
            Unavailable: too many password checks wait.
        """
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
        checking = self._checking.get(digest)
        if checking is None:
            if len(self._checking) >= _WAITING:
                raise Unavailable(
                    "cannot check the password now: too many checks wait", retry_after=1
                )
            checking = asyncio.ensure_future(self._verify(users, digest, *given))
            self._checking[digest] = checking
            checking.add_done_callback(lambda _: self._checking.pop(digest, None))
        # Shielded: other requests may wait for the same check.
        return await asyncio.shield(checking)

    async def _verify(self, users: Users, digest: bytes, name: str, password: bytes) -> User | None:
        role, hashed = users.role(name), users.hashed(name)
        loop = asyncio.get_running_loop()
        # An unknown name costs a hash too, so that the time does not reveal whether the name exists.
        good = await loop.run_in_executor(self._thread, _check, password, hashed or users.slowest)
        found = User(name, role) if good and role is not None and hashed else None
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


def _decode(authorization: bytes) -> tuple[str, bytes] | None:
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        name, colon, password = b64decode(encoded.strip(), validate=True).partition(b":")
        return (name.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _check(password: bytes, hashed: str) -> bool:
    if not password or len(password) > htpasswd.LONGEST or b"\0" in password:
        return False
    try:
        return bcrypt.checkpw(password, hashed.encode())
    except ValueError as error:  # a hash in the right form that bcrypt cannot use
        _log.error("cannot check a password: %s", error)
        return False
