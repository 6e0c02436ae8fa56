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

import bcrypt

from model_deployment.credentials import htpasswd
from model_deployment.credentials.htpasswd import CALLERS, OPERATORS, Users
from model_deployment.domain import Role, User
from model_deployment.errors import CredentialsError, Unavailable

_log = logging.getLogger(__name__)

#: Seconds between looks at the files; answers that are remembered; checks that may wait.
_LOOK = 1.0
_REMEMBERED = 1024
_WAITING = 64

#: Who asks while there are no credentials, which only a controller on loopback allows.
NOBODY = User("", Role.OPERATOR)

_Signature = tuple[tuple[int, int, int] | None, ...]


class Credentials:
    """The users of a folder, as they are now."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._users: Users | None = None
        self._signature: _Signature = ()
        self._looked = -_LOOK
        self._known: dict[bytes, User | None] = {}
        self._key = secrets.token_bytes(32)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        self._waiting = 0
        # Checked where there is no such user, so that the time it takes does not tell.
        self._dummy = bcrypt.hashpw(b"nobody", bcrypt.gensalt(htpasswd.COST)).decode()

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
        if digest in self._known:
            return self._known[digest]
        found = await self._verify(users, authorization)
        if users is self._users:  # else it was found out in files that are no more
            if len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[digest] = found
        return found

    async def _verify(self, users: Users, authorization: bytes) -> User | None:
        given = _decode(authorization)
        if given is None:
            return None
        name, password = given
        role, hashed = users.role(name), users.hashed(name)
        if self._waiting >= _WAITING:
            raise Unavailable(
                "cannot check the password now: many are being checked", retry_after=1
            )
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            good = await loop.run_in_executor(self._thread, _check, password, hashed or self._dummy)
        finally:
            self._waiting -= 1
        return User(name, role) if good and role is not None and hashed else None

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        signature = self._sign()
        if signature == self._signature or (self._users is None and not any(signature)):
            return
        self._signature = signature
        self._known.clear()
        try:
            self._users = htpasswd.read(self._folder)
            _log.info("the credentials in %s were read anew", self._folder)
        except CredentialsError as error:
            # Closed rather than as before: whoever was removed must not stay.
            self._users = Users({}, {})
            _log.error("nobody gets in: %s", error)

    def _sign(self) -> _Signature:
        return tuple(_signature(self._folder / name) for name in (OPERATORS, CALLERS))

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False, cancel_futures=True)


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
    return bcrypt.checkpw(password, hashed.encode())
