"""The htpasswd files: who stands in which, what may stand in them, and changes at the same time."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import bcrypt
import pytest

from model_deployment.core.errors import CredentialsError
from model_deployment.core.users import Role
from model_deployment.credentials import htpasswd
from model_deployment.credentials.verify import Credentials
from tests.support.passwords import PASSWORD


def test_operators_stand_in_both_files(folder: Path) -> None:
    users = htpasswd.read(folder)
    assert set(users.operators) == {"olga"}
    assert set(users.callers) == {"olga", "carl"}
    assert users.operators["olga"] == users.callers["olga"]
    for name in (htpasswd.OPERATORS, htpasswd.CALLERS):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    there = sorted(path.name for path in folder.iterdir())
    assert there == [".lock", htpasswd.CALLERS, htpasswd.OPERATORS]


def test_a_role_can_be_changed_and_taken(folder: Path) -> None:
    htpasswd.set_user(folder, "carl", PASSWORD, Role.OPERATOR)
    htpasswd.set_user(folder, "olga", PASSWORD, Role.CALLER)
    users = htpasswd.read(folder)
    assert (users.role("carl"), users.role("olga")) == (Role.OPERATOR, Role.CALLER)
    with pytest.raises(CredentialsError, match="last operator"):
        htpasswd.remove_user(folder, "carl")
    htpasswd.remove_user(folder, "olga")
    assert htpasswd.read(folder).role("olga") is None
    with pytest.raises(CredentialsError, match="no such user"):
        htpasswd.remove_user(folder, "olga")


@pytest.mark.parametrize(
    "name", ["", "a:b", "a\nb", "-a", "a b", "é", "x" * 65, "../x", "#x", "a\0"]
)
def test_user_name_that_would_break_the_file_is_refused(folder: Path, name: str) -> None:
    before = htpasswd.read(folder)
    with pytest.raises(CredentialsError, match="as a name"):
        htpasswd.set_user(folder, name, PASSWORD, Role.CALLER)
    assert htpasswd.read(folder) == before


@pytest.mark.parametrize("password", ["", "short", "x" * 15, "x" * 73, "é" * 37])
def test_passwords_that_are_too_short_or_too_long_for_bcrypt(folder: Path, password: str) -> None:
    with pytest.raises(CredentialsError, match="16 characters"):
        htpasswd.set_user(folder, "new", password, Role.CALLER)


@pytest.mark.parametrize(
    "line",
    ["olga", "olga:", "olga:secret", "olga:$apr1$x$y", "olga:{SSHA}xyz", ":$2y$05$" + "a" * 53,
     "olga:$2y$05$" + "a" * 52, "olga:$2y$14$" + "a" * 53, "o lga:$2y$05$" + "a" * 53],
)  # fmt: skip
def test_line_without_bcrypt_hash_is_named(folder: Path, line: str) -> None:
    with (folder / htpasswd.CALLERS).open("a") as file:
        file.write(f"\n# a comment\n{line}\n")
    with pytest.raises(CredentialsError, match="line 5 of "):
        Credentials(folder).open()


def test_credentials_without_operator_are_refused(folder: Path) -> None:
    (folder / htpasswd.OPERATORS).write_text("")
    with pytest.raises(CredentialsError, match="there is no operator"):
        Credentials(folder).open()


def test_new_passwords_are_long_and_differ() -> None:
    made = {htpasswd.new_password() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) == 32


def test_last_operator_cannot_be_removed(folder: Path) -> None:
    with pytest.raises(CredentialsError, match="last operator"):
        htpasswd.set_user(folder, "olga", PASSWORD, Role.CALLER)
    assert htpasswd.read(folder).role("olga") is Role.OPERATOR


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
def test_files_written_by_root_belong_to_the_owner_of_the_folder(folder: Path) -> None:
    os.chown(folder, 12345, 12345)
    htpasswd.set_user(folder, "nina", PASSWORD, Role.CALLER)
    assert (folder / htpasswd.CALLERS).stat().st_uid == 12345


def test_file_written_by_htpasswd_is_read(folder: Path) -> None:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    for prefix in ("$2a$", "$2b$", "$2y$"):
        (folder / htpasswd.OPERATORS).write_text(f"x:{prefix}{hashed[4:]}\n")
        assert htpasswd.read(folder).role("x") is Role.OPERATOR


def test_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CredentialsError, match="cannot write to"):
        htpasswd.set_user(tmp_path / "file", "olga", PASSWORD, Role.OPERATOR)


def test_concurrent_changes_lose_no_user(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from model_deployment.credentials import htpasswd; "
        "from model_deployment.core.users import Role; "
        "[htpasswd.set_user(Path(sys.argv[1]), sys.argv[2] + n, 'x' * 16, Role.CALLER) for n in '12345']"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(folder), name]) for name in "abc"
    ]
    assert [process.wait(30) for process in running] == [0, 0, 0]
    assert len(htpasswd.read(folder).callers) == 2 + 15
