"""Two htpasswd files: ``operators.htpasswd``, and ``callers.htpasswd`` with the callers and the operators.

The gateway in front reads one file for each location, so an operator is in both. Only bcrypt hashes are
accepted: the C libraries of all gateways and Python's bcrypt check them alike.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from model_deployment.core.devices import TOKEN_PREFIX
from model_deployment.core.errors import CredentialsError
from model_deployment.core.users import Role

OPERATORS, CALLERS = "operators.htpasswd", "callers.htpasswd"

#: Cost of bcrypt for random passwords. The gateway computes a hash for every request, in the process that
#: serves all others; the lowest cost takes 0.8 ms. A higher cost is not needed: 192 random bits cannot be
#: guessed.
COST = 4
#: Cost for chosen passwords, the default of the tool ``htpasswd``: twice as slow.
COST_OF_CHOSEN = 5
#: Minimum characters of a chosen password, and maximum bytes: bcrypt ignores more.
SHORTEST, LONGEST = 16, 72

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# Higher costs take seconds for each request.
_HASH = re.compile(r"\$2[aby]\$(0[4-9]|1[0-2])\$[./A-Za-z0-9]{53}")

Hashes = Mapping[str, str]

#: A hash to check if there are no users.
_DUMMY = bcrypt.hashpw(b"nobody", bcrypt.gensalt(4)).decode()


@dataclass(frozen=True, slots=True)
class Users:
    """Names and hashes of the two files."""

    operators: Hashes
    #: Contains the operators too.
    callers: Hashes

    def role(self, name: str) -> Role | None:
        """The role of a user; None if there is no such user."""
        if name in self.operators:
            return Role.OPERATOR
        return Role.CALLER if name in self.callers else None

    @property
    def slowest(self) -> str:
        """The hash that takes longest to check."""
        return max([*self.operators.values(), *self.callers.values(), _DUMMY], key=lambda h: h[4:6])

    @property
    def highest_cost(self) -> int:
        """The cost of :attr:`slowest`: each one more doubles the time."""
        return int(self.slowest[4:6])

    def hashed(self, name: str) -> str | None:
        return self.operators.get(name) or self.callers.get(name)


def exist(folder: Path) -> bool:
    """Whether there are any users."""
    return (folder / OPERATORS).exists() or (folder / CALLERS).exists()


def read(folder: Path) -> Users:
    """The users in both files; a missing file has none.

    Raises:
        CredentialsError: a file or one of its lines cannot be read.
    """
    return Users(_read(folder / OPERATORS), _read(folder / CALLERS))


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"cannot read {path}: {error}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, hashed = line.partition(":")
        if not (_NAME.fullmatch(name) and _HASH.fullmatch(hashed)):
            raise CredentialsError(
                f"cannot use line {number} of {path}: write NAME:HASH with a bcrypt hash of cost 4 to 12, "
                "as 'model-deployment users add NAME' and 'htpasswd -B' do"
            )
        found[name] = hashed
    return found


def is_name(text: str) -> bool:
    """Whether a user may be called so."""
    return _NAME.fullmatch(text) is not None


def new_password() -> str:
    """A random password of 192 bits."""
    while (made := secrets.token_urlsafe(24)).startswith(TOKEN_PREFIX):
        pass  # once in 16 million times
    return made


def set_user(folder: Path, name: str, password: str, role: Role, *, cost: int = COST) -> None:
    """Add a user, or change the password and role of a user.

    Raises:
        CredentialsError: the name or the password cannot be used, or a file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise CredentialsError(
            f"cannot use {name!r} as a name: use 1 to 64 letters, digits, '.', '_', '@', '-', beginning "
            "with a letter or a digit"
        )
    if role is Role.DEVICE:
        raise CredentialsError(
            f"cannot make {name} a device: devices have tokens instead of passwords; they register with "
            "a code"
        )
    hashed = _hash(password, cost)
    with _locked(folder) as users:
        others = {other: value for other, value in users.operators.items() if other != name}
        if role is Role.OPERATOR:
            others[name] = hashed
        elif users.operators and not others:
            raise CredentialsError(
                f"cannot make {name} a caller: it is the last operator; add another one first"
            )
        _write(folder / CALLERS, {**users.callers, name: hashed})
        if others != users.operators:
            _write(folder / OPERATORS, others)


def remove_user(folder: Path, name: str) -> None:
    """Remove a user.

    Raises:
        CredentialsError: there is no such user, it is the last operator, or a file cannot be written.
    """
    with _locked(folder) as users:
        if users.role(name) is None:
            raise CredentialsError(f"cannot remove {name!r}: there is no such user")
        operators = {other: value for other, value in users.operators.items() if other != name}
        if name in users.operators and not operators:
            raise CredentialsError(
                f"cannot remove {name}: it is the last operator; add another one first"
            )
        if name in users.operators:
            _write(folder / OPERATORS, operators)
        _write(folder / CALLERS, {n: value for n, value in users.callers.items() if n != name})


def _hash(password: str, cost: int) -> str:
    if len(password) < SHORTEST or len(password.encode()) > LONGEST:
        raise CredentialsError(
            f"cannot use this password: it must have at least {SHORTEST} characters and at most {LONGEST} "
            "bytes; without --password-stdin, a random password is generated"
        )
    if password.startswith(TOKEN_PREFIX):
        raise CredentialsError(
            f"cannot use this password: it begins with {TOKEN_PREFIX!r}, as tokens of devices do; choose "
            "another one"
        )
    # The same hash under the prefix that Apache's tools know.
    return (
        bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode().replace("$2b$", "$2y$", 1)
    )


@contextmanager
def _locked(folder: Path) -> Iterator[Users]:
    """The users, while no other process changes them."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield read(folder)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CredentialsError(f"cannot write to {folder}: {error.strerror}") from error


def _write(path: Path, users: Hashes) -> None:
    write_secret(path, "".join(f"{name}:{hashed}\n" for name, hashed in users.items()))


def write_secret(path: Path, content: str) -> None:
    """Write a file atomically, readable for its owner only."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        if os.geteuid() == 0:
            # Written by root for a controller that is not root: the folder's owner owns the file.
            owner = path.parent.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
