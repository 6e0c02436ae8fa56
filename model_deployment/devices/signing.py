"""The key that signs releases: Ed25519 (RFC 8032), in a file that only its owner can read.

Devices trust the key that they got when they registered, so another key in its place would cut all of them
off. A file that is missing or damaged is therefore an error wherever a device may know the key. Beside the
key lies its public half, ``release.pub``, by which the loss of the key is noticed.
"""

import asyncio
import base64
import contextlib
import hashlib
import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from model_deployment.core.errors import Unavailable

_log = logging.getLogger(__name__)

#: Names in the data directory: the key in PEM (PKCS #8), and its public half in base64.
KEY_FILE, PUBLIC_FILE = "release.key", "release.pub"
#: Bytes of a file that is read as a key at most; a key has 119.
_MOST_BYTES = 4096

_HELP = (
    "devices trust this key and no other; put release.key of a backup in its place. To give up the devices "
    "that are registered, remove release.key and release.pub, and enrol each device again"
)


class UnusableKey(Unavailable, title="Release key unusable"):
    """The key that signs releases is lost, damaged, or cannot be read."""


class ReleaseKey:
    """A key pair."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self._public = private.public_key()

    def __repr__(self) -> str:
        return f"<ReleaseKey {self.id}>"

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """The key of a secret of 32 bytes (RFC 8032, section 5.1.5)."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the 32 bytes of the public key."""
        return hashlib.sha256(self._public.public_bytes_raw()).hexdigest()[:16]

    @property
    def public(self) -> str:
        """The 32 bytes of the public key, in base64."""
        return base64.b64encode(self._public.public_bytes_raw()).decode()

    def sign(self, text: str) -> str:
        """The signature of a text in UTF-8, in base64."""
        return base64.b64encode(self._private.sign(text.encode())).decode()

    def verifies(self, text: str, signature: str) -> bool:
        """Whether this key made a signature."""
        try:
            self._public.verify(base64.b64decode(signature, validate=True), text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True

    def pem(self) -> bytes:
        """The content of its file."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


async def _nobody() -> bool:
    return False


class KeyFile:
    """The release key of a data directory, opened when it is needed first."""

    def __init__(self, data_dir: Path, trusted: Callable[[], Awaitable[bool]] = _nobody) -> None:
        """
        Args:
            trusted: whether devices are known that may trust a key, so that a missing one is lost.
        """
        self._data_dir = data_dir
        self._trusted = trusted
        self._key: ReleaseKey | None = None
        self._turn = asyncio.Lock()

    def id(self) -> str:
        """The id of the key that a release was signed with, so there is one. Reads a small file at first.

        Raises:
            UnusableKey: it is lost, damaged or cannot be read.
        """
        if self._key is None:
            self._key = open_key(self._data_dir, trusted=True)
        return self._key.id

    async def get(self) -> ReleaseKey:
        """The key; the first one is made.

        Raises:
            UnusableKey: it is lost, damaged or cannot be read or written.
        """
        async with self._turn:
            if self._key is None:
                trusted = await self._trusted()
                self._key = await asyncio.to_thread(open_key, self._data_dir, trusted=trusted)
            return self._key


def open_key(data_dir: Path, *, trusted: bool = False) -> ReleaseKey:
    """The release key of a data directory, which is made when there never was one.

    Args:
        trusted: devices are known that may trust a key, so that a missing one is lost.

    Raises:
        UnusableKey: it is lost, damaged or cannot be read or written; nothing was changed.
    """
    path, public = data_dir / KEY_FILE, data_dir / PUBLIC_FILE
    try:
        key = _read(path)
        if key is None:
            if trusted or os.path.lexists(public):
                raise UnusableKey(f"cannot sign releases: the key {path} is missing; {_HELP}")
            key = _create(path)
        _check_public(public, key, path)
    except OSError as error:
        raise UnusableKey(
            f"cannot sign releases: the key {path} cannot be read or written: {error.strerror or error}; "
            "make the data directory readable and writable, with free space on its disk"
        ) from error
    return key


def _read(path: Path) -> ReleaseKey | None:
    """None if there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(_MOST_BYTES + 1)
        mode = os.fstat(file.fileno()).st_mode
        if mode & 0o077:
            _log.warning("the release key %s was readable by others (%o)", path, mode & 0o777)
            with contextlib.suppress(PermissionError):  # another owner; it can be used all the same
                os.fchmod(file.fileno(), 0o600)
    try:
        found = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, Ed25519PrivateKey):
        raise UnusableKey(
            f"cannot sign releases: {path} holds no Ed25519 key, so it is damaged; {_HELP}"
        )
    return ReleaseKey(found)


def _create(path: Path) -> ReleaseKey:
    """Write a new key; the one of another process, if that was faster."""
    key = ReleaseKey(Ed25519PrivateKey.generate())
    _write_new(path, key.pem(), 0o600)
    found = _read(path)
    if found is None:
        raise FileNotFoundError(2, os.strerror(2), str(path))
    if found.id == key.id:
        _log.info("made the release key %s in %s", key.id, path)
    return found


def _check_public(path: Path, key: ReleaseKey, private: Path) -> None:
    """Compare the key with its public half; write the latter where it is missing or damaged."""
    known = ""
    with contextlib.suppress(FileNotFoundError):
        known = path.read_text(encoding="ascii", errors="replace")[:_MOST_BYTES].strip()
    if known == key.public:
        return
    if _is_public(known):
        raise UnusableKey(
            f"cannot sign releases: the key {private} is not the one that devices trust, whose public half "
            f"is {path}; {_HELP}"
        )
    path.unlink(missing_ok=True)
    _write_new(path, f"{key.public}\n".encode(), 0o644)


def _is_public(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return len(base64.b64decode(text, validate=True)) == 32
    return False


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file whole, or not at all; leave one that is there."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
