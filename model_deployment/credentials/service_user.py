"""The user that runs of flows call the controller as: an operator with a random password in a file."""

import logging
from pathlib import Path

import bcrypt

from model_deployment.core.users import Role
from model_deployment.credentials import htpasswd

_log = logging.getLogger(__name__)

#: The controller makes and changes this user; no person should have the name.
NAME = "flows"
FILE = "password"


def ensure(credentials: Path, folder: Path) -> str:
    """Make the user if there are users, and return the password; empty where there are none.

    The password is in ``password`` in the folder, readable for its owner only.

    Raises:
        CredentialsError: the files of users cannot be read or written.
        OSError: the password cannot be written.
    """
    if not htpasswd.exist(credentials):
        return ""
    path = folder / FILE
    try:
        password = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        password = ""
    users = htpasswd.read(credentials)
    if password and users.role(NAME) is Role.OPERATOR and _fits(password, users.hashed(NAME)):
        return password
    if users.role(NAME) is not None:
        _log.warning("the user %s is the controller's own: it gets a new password", NAME)
    password = htpasswd.new_password()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # First: a controller that is killed in between makes the user with its next start.
    htpasswd.write_secret(path, password + "\n")
    htpasswd.set_user(credentials, NAME, password, Role.OPERATOR)
    return password


def _fits(password: str, hashed: str | None) -> bool:
    try:
        return bool(hashed) and bcrypt.checkpw(password.encode(), (hashed or "").encode())
    except ValueError:
        return False
