"""Passwords in htpasswd files, and who a header proves to be."""

import asyncio
import base64
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import bcrypt
import pytest

from model_deployment.core.errors import CredentialsError, Unauthenticated, Unavailable
from model_deployment.core.users import Role, User
from model_deployment.credentials import htpasswd, verify
from model_deployment.credentials.access import USER, Access
from model_deployment.credentials.verify import NOBODY, Credentials

PASSWORD = "correct horse battery"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def basic(name: str, password: str = PASSWORD, scheme: str = "Basic") -> bytes:
    return f"{scheme} ".encode() + base64.b64encode(f"{name}:{password}".encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    htpasswd.set_user(tmp_path / "c", "olga", PASSWORD, Role.OPERATOR)
    htpasswd.set_user(tmp_path / "c", "carl", PASSWORD, Role.CALLER)
    return tmp_path / "c"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def credentials(folder: Path, clock: Clock) -> Credentials:
    made = Credentials(folder, clock=clock)
    made.open()
    return made


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


async def test_password_identifies_the_user(credentials: Credentials) -> None:
    assert credentials.required
    for _ in range(2):  # found out, and remembered
        assert await credentials.user(basic("olga")) == User("olga", Role.OPERATOR)
        assert await credentials.user(basic("carl", scheme="bASIC")) == User("carl", Role.CALLER)


@pytest.mark.parametrize(
    "header",
    [
        None, b"", b"Basic", b"Basic ", b"Basic !!!", b"Bearer abc", b"Basic b2xnYQ==", basic(""),
        basic("", ""),
        basic("olga", ""), basic("olga", "wrong"), basic("olga", PASSWORD + "x"), basic("nobody"),
        basic("Olga"), basic("olga", PASSWORD + "\0"), basic("olga", "x" * 100_000), basic("olga\n"),
        b"Basic " + base64.b64encode(b"\xff\xfe:x"), basic("olga", scheme="Digest"),
    ],
)  # fmt: skip
async def test_wrong_password_is_refused(credentials: Credentials, header: bytes | None) -> None:
    for _ in range(2):
        assert await credentials.user(header) is None


async def test_hash_of_a_header_is_computed_once(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, computed = bcrypt.checkpw, []

    def counted(password: bytes, hashed: bytes) -> bool:
        computed.append(password)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    for _ in range(10):
        assert await credentials.user(basic("olga"))
        assert not await credentials.user(basic("nobody", "wrong"))  # which takes as long
    assert len(computed) == 2


async def test_no_password_stays_in_memory(credentials: Credentials) -> None:
    await credentials.user(basic("olga"))
    assert all(basic("olga") not in key for key in credentials._good)


async def test_cache_of_results_is_bounded(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_CACHED", 3)
    assert await credentials.user(basic("olga"))
    for n in range(10):
        assert not await credentials.user(basic("olga", f"wrong {n}"))
        assert not await credentials.user(b"Basic %d" % n)
    assert (len(credentials._good), len(credentials._bad)) == (1, 3)


async def test_concurrent_equal_headers_are_checked_once(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, computed = bcrypt.checkpw, []

    def counted(password: bytes, hashed: bytes) -> bool:
        computed.append(password)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    found = await asyncio.gather(*(credentials.user(basic("olga")) for _ in range(300)))
    assert {user and user.name for user in found} == {"olga"}
    assert len(computed) == 1


async def test_cancelled_check_does_not_cancel_the_others(credentials: Credentials) -> None:
    first, second = (asyncio.ensure_future(credentials.user(basic("olga"))) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert first.cancelled()


async def test_change_of_one_user_keeps_the_results_of_others(
    credentials: Credentials, folder: Path, clock: Clock
) -> None:
    assert await credentials.user(basic("olga"))
    assert await credentials.user(basic("carl"))
    htpasswd.set_user(folder, "carl", PASSWORD, Role.CALLER)
    clock.now += 1
    await credentials.user(None)
    assert [user.name for user, _ in credentials._good.values()] == ["olga"]


async def test_last_operator_cannot_be_removed(folder: Path) -> None:
    with pytest.raises(CredentialsError, match="last operator"):
        htpasswd.set_user(folder, "olga", PASSWORD, Role.CALLER)
    assert htpasswd.read(folder).role("olga") is Role.OPERATOR


async def test_invalid_hash_lets_nobody_in(folder: Path) -> None:
    with (folder / htpasswd.CALLERS).open("a") as file:
        file.write(f"odd:$2y$05${'/' * 21}z{'.' * 31}\n")
    credentials = Credentials(folder)
    credentials.open()
    assert await credentials.user(basic("odd")) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
def test_files_written_by_root_belong_to_the_owner_of_the_folder(folder: Path) -> None:
    os.chown(folder, 12345, 12345)
    htpasswd.set_user(folder, "nina", PASSWORD, Role.CALLER)
    assert (folder / htpasswd.CALLERS).stat().st_uid == 12345


async def test_credentials_changed_on_disk_are_read_within_a_second(
    credentials: Credentials, folder: Path, clock: Clock
) -> None:
    assert await credentials.user(basic("carl"))
    htpasswd.remove_user(folder, "carl")
    htpasswd.set_user(folder, "new", PASSWORD, Role.OPERATOR)
    clock.now += 1
    assert await credentials.user(basic("carl")) is None
    assert await credentials.user(basic("new")) == User("new", Role.OPERATOR)


@pytest.mark.parametrize("how", ["gone", "garbage"])
async def test_unreadable_credentials_let_nobody_in(
    credentials: Credentials, folder: Path, clock: Clock, how: str
) -> None:
    assert await credentials.user(basic("olga"))
    for name in (htpasswd.OPERATORS, htpasswd.CALLERS):
        (folder / name).unlink() if how == "gone" else (folder / name).write_text("what?\n")
    clock.now += 1
    assert await credentials.user(basic("olga")) is None
    assert await credentials.user(None) is None
    assert credentials.required
    htpasswd_path = folder / htpasswd.OPERATORS
    htpasswd_path.unlink(missing_ok=True)
    (folder / htpasswd.CALLERS).unlink(missing_ok=True)
    htpasswd.set_user(folder, "olga", PASSWORD, Role.OPERATOR)
    clock.now += 1
    assert await credentials.user(basic("olga"))


async def test_requests_need_no_password_until_there_are_users(
    tmp_path: Path, clock: Clock
) -> None:
    credentials = Credentials(tmp_path, clock=clock)
    credentials.open()
    assert not credentials.required
    assert await credentials.user(None) == NOBODY
    htpasswd.set_user(tmp_path, "olga", PASSWORD, Role.OPERATOR)
    clock.now += 1
    assert await credentials.user(None) is None
    assert await credentials.user(basic("olga"))


async def test_too_many_checks_at_once_are_refused(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_WAITING", 0)
    with pytest.raises(Unavailable) as caught:
        await credentials.user(basic("olga"))
    assert caught.value.retry_after == 1


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


def bearer(token: str) -> bytes:
    return f"Bearer {token}".encode()


async def test_a_token_is_a_password_or_a_name_with_one(folder: Path) -> None:
    htpasswd.set_user(folder, "dora", "a:password of dora", Role.CALLER)
    htpasswd.set_user(folder, "evan", "evan's own password", Role.CALLER)
    made = Credentials(folder)
    made.open()
    assert await made.user(bearer("evan's own password")) == User("evan", Role.CALLER)
    assert await made.user(bearer(f"olga:{PASSWORD}")) == User("olga", Role.OPERATOR)
    assert await made.user(bearer(f"carl:{PASSWORD}")) == User("carl", Role.CALLER)
    # A shared password is that of the first name; what looks like a name is one.
    assert await made.user(bearer(PASSWORD)) == User("carl", Role.CALLER)
    assert await made.user(bearer("a:password of dora")) is None
    assert await made.user(bearer("dora:a:password of dora")) == User("dora", Role.CALLER)
    for wrong in ("", "carl", "carl:", "nobody:x", "some other password"):
        assert await made.user(bearer(wrong)) is None
    made.close()


@pytest.mark.parametrize(("users", "cost"), [(3, 4), (2, 6)])
async def test_among_many_users_or_slow_hashes_a_token_names_its_user(
    folder: Path, monkeypatch: pytest.MonkeyPatch, users: int, cost: int
) -> None:
    monkeypatch.setattr(verify, "USERS_OF_TOKENS", users - 1 if cost == 4 else users)
    htpasswd.set_user(folder, "carl", PASSWORD, Role.CALLER, cost=cost)
    if users == 3:
        htpasswd.set_user(folder, "dora", PASSWORD, Role.CALLER)
    made = Credentials(folder)
    made.open()
    with pytest.raises(Unauthenticated, match="<name>:<password>"):
        await made.user(bearer(PASSWORD))
    assert await made.user(bearer(f"carl:{PASSWORD}")) == User("carl", Role.CALLER)
    # What needs no password needs no name either.
    access = Access(made, open_calls=[("GET", "/health")])
    headers = {b"host": b"localhost", b"authorization": bearer(PASSWORD)}
    scope = {"method": "GET", "path": "/health", "headers": [*headers.items()]}
    await access.admit(scope, headers)
    assert scope[USER] is None
    with pytest.raises(Unauthenticated, match="<name>:<password>"):
        await access.admit({**scope, "path": "/ready"}, headers)
    made.close()


async def test_tokens_without_a_name_do_not_hold_up_other_checks(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go = threading.Event()
    check = verify._check
    monkeypatch.setattr(verify, "_check", lambda *given: may_go.wait(30) and check(*given))
    monkeypatch.setattr(verify, "_WAITING", 1)
    guesses = [asyncio.create_task(credentials.user(bearer(f"guess {n}"))) for n in range(9)]
    await asyncio.sleep(0)
    olga = asyncio.create_task(credentials.user(basic("olga")))
    await asyncio.sleep(0)
    may_go.set()
    assert await olga == User("olga", Role.OPERATOR)
    told = await asyncio.gather(*guesses, return_exceptions=True)
    assert told[:4] == [None] * 4
    assert [type(one) for one in told[4:]] == [Unavailable] * 5
    assert await credentials.user(bearer("guess 9")) is None
    credentials.close()
