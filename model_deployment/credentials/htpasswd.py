"""Two htpasswd files: ``operators.htpasswd``, and ``callers.htpasswd`` with the callers and the operators.

The gateway in front takes one file for each location, so whoever may operate stands in both. Hashes are
bcrypt and nothing else, since that is what the C libraries of all gateways and we understand alike.
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

from model_deployment.core.domain import Role
from model_deployment.core.errors import CredentialsError

OPERATORS, CALLERS = "operators.htpasswd", "callers.htpasswd"

#: Of bcrypt. The gateway computes a hash for every request, in the process that serves all others, and the
#: least cost takes 0.8 ms. It need not be slow: nobody guesses 192 random bits, whatever a guess costs.
COST = 4
#: Of passwords that somebody chose, as the tool ``htpasswd`` has it: twice as slow.
COST_OF_CHOSEN = 5
#: Characters that a password must have which somebody chose, and bytes that bcrypt looks at.
SHORTEST, LONGEST = 16, 72

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# Higher costs take seconds, and every request pays.
_HASH = re.compile(r"\$2[aby]\$(0[4-9]|1[0-2])\$[./A-Za-z0-9]{53}")

Hashes = Mapping[str, str]

#: For want of any.
_NOBODYS = bcrypt.hashpw(b"nobody", bcrypt.gensalt(4)).decode()


@dataclass(frozen=True, slots=True)
class Users:
    """Names and hashes, as they stand in the two files."""

    operators: Hashes
    #: Operators as well.
    callers: Hashes

    def role(self, name: str) -> Role | None:
        """What somebody may do; None for nobody."""
        if name in self.operators:
            return Role.OPERATOR
        return Role.CALLER if name in self.callers else None

    @property
    def slowest(self) -> str:
        """A hash that takes as long to check as any."""
        return max(
            [*self.operators.values(), *self.callers.values(), _NOBODYS], key=lambda h: h[4:6]
        )

    def hashed(self, name: str) -> str | None:
        """The hash of somebody's password."""
        return self.operators.get(name) or self.callers.get(name)


def exist(folder: Path) -> bool:
    """Whether there are any users."""
    return (folder / OPERATORS).exists() or (folder / CALLERS).exists()


def read(folder: Path) -> Users:
    """The users in both files; one that is not there is empty.

    Raises:
        CredentialsError: a file cannot be read, or a line of it.
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


def new_password() -> str:
    """One that nobody guesses: 192 bits."""
    return secrets.token_urlsafe(24)


def set_user(folder: Path, name: str, password: str, role: Role, *, cost: int = COST) -> None:
    """Add a user, or give one another password or role.

    Raises:
        CredentialsError: the name or the password cannot be used, or a file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise CredentialsError(
            f"cannot use {name!r} as a name: take 1 to 64 letters, digits, '.', '_', '@', '-', and begin "
            "with a letter or a digit"
        )
    hashed = _hash(password, cost)
    with _changing(folder) as users:
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
    """Take all rights from a user.

    Raises:
        CredentialsError: there is no such user, nobody else operates, or a file cannot be written.
    """
    with _changing(folder) as users:
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
            f"cannot use this password: it must have {SHORTEST} characters at least and {LONGEST} bytes at "
            "most; without --password-stdin a random one is made"
        )
    # The same hash by the name that Apache's tools know.
    return (
        bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode().replace("$2b$", "$2y$", 1)
    )


@contextmanager
def _changing(folder: Path) -> Iterator[Users]:
    """What is there, and nobody else who changes it."""
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
    content = "".join(f"{name}:{hashed}\n" for name, hashed in users.items())
    write_secret(path, content)


def write_secret(path: Path, content: str) -> None:
    """Write a file that only its owner may read: whole or not at all."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        if os.geteuid() == 0:
            # Made by root, for a controller that is not: whose the folder is, his is the file.
            owner = path.parent.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
