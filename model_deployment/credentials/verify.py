"""Finds out who a request comes from, by HTTP basic authentication (RFC 7617).

Every request asks, so what was found out is remembered: by a digest under a key of this process, so that no
password stays in memory. The files are looked at again each second.
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

#: Seconds between looks at the files; answers that are remembered; checks that may wait.
_LOOK = 1.0
_REMEMBERED = 1024
_WAITING = 64

#: Who asks while there are no credentials, which only a controller on loopback allows.
NOBODY = User("", Role.OPERATOR)

T = TypeVar("T")

_Signature = tuple[tuple[int, int, int] | None, ...]


class Credentials:
    """The users of a folder, as they are now."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._users: Users | None = None
        self._signature: _Signature = ()
        self._looked = -_LOOK
        #: By digest of a header: who it proves, and by which hash.
        self._good: dict[bytes, tuple[User, str]] = {}
        self._bad: dict[bytes, None] = {}
        #: Equal headers are checked once, however many come together.
        self._checking: dict[bytes, asyncio.Future[User | None]] = {}
        self._key = secrets.token_bytes(32)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")

    def open(self) -> None:
        """Read the files.

        Raises:
            CredentialsError: they cannot be used.
        """
        if htpasswd.exist(self._folder):
            self._signature = self._sign()
            self._users = htpasswd.read(self._folder)
            if not self._users.operators:
                raise CredentialsError(
                    f"cannot use the credentials in {self._folder}: nobody operates. Add somebody with "
                    "'model-deployment users add NAME --role operator'"
                )

    @property
    def required(self) -> bool:
        """Whether requests need any. Once they do, they do until the end of this process."""
        return self._users is not None

    async def user(self, authorization: bytes | None) -> User | None:
        """Who sends this header; None if it proves nobody.

        Raises:
            Unavailable: too many are being checked.
        """
        self._look()
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
                    "cannot check the password now: many are being checked", retry_after=1
                )
            checking = asyncio.ensure_future(self._verify(users, digest, *given))
            self._checking[digest] = checking
            checking.add_done_callback(lambda _: self._checking.pop(digest, None))
        # Shielded: others may be waiting for the same.
        return await asyncio.shield(checking)

    async def _verify(self, users: Users, digest: bytes, name: str, password: bytes) -> User | None:
        role, hashed = users.role(name), users.hashed(name)
        loop = asyncio.get_running_loop()
        # For a name that nobody has somebody's hash is computed, so that the time it takes does not tell.
        good = await loop.run_in_executor(self._thread, _check, password, hashed or users.slowest)
        found = User(name, role) if good and role is not None and hashed else None
        if users is self._users:  # else it was found out in files that are no more
            if found is None:
                _remember(self._bad, digest, None)
            else:
                _remember(self._good, digest, (found, hashed or ""))
        return found

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        signature = self._sign()
        if signature == self._signature or (self._users is None and not any(signature)):
            return
        self._signature = signature
        try:
            self._users = htpasswd.read(self._folder)
            _log.info("the credentials in %s were read anew", self._folder)
        except CredentialsError as error:
            # Closed rather than as before: whoever was removed must not stay.
            self._users = Users({}, {})
            _log.error("nobody gets in: %s", error)
        self._forget(self._users)

    def _forget(self, users: Users) -> None:
        """What was found out of users whose password or role is another one now."""
        self._bad.clear()
        self._good = {
            digest: (user, hashed)
            for digest, (user, hashed) in self._good.items()
            if users.hashed(user.name) == hashed and users.role(user.name) is user.role
        }

    def _sign(self) -> _Signature:
        return tuple(_signature(self._folder / name) for name in (OPERATORS, CALLERS))

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _remember(known: dict[bytes, T], digest: bytes, found: T) -> None:
    if len(known) >= _REMEMBERED:
        del known[next(iter(known))]
    known[digest] = found


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - for every request that comes a second after the last
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
    except ValueError as error:  # a hash that looks like one and is none
        _log.error("cannot check a password: %s", error)
        return False
