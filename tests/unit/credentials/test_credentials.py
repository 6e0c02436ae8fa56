"""Who a header proves to be, what is remembered of it, and files that change meanwhile."""

import asyncio
import base64
from pathlib import Path

import bcrypt
import pytest

from model_deployment.core.errors import Unavailable
from model_deployment.core.users import Role, User
from model_deployment.credentials import htpasswd, verify
from model_deployment.credentials.verify import NOBODY, Credentials
from tests.support.passwords import PASSWORD, Clock, basic, bearer


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


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Passwords whose hash was computed."""
    real, found = bcrypt.checkpw, list[bytes]()

    def counted(password: bytes, hashed: bytes) -> bool:
        found.append(password)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return found


async def test_hash_of_a_header_is_computed_once(
    credentials: Credentials, computed: list[bytes]
) -> None:
    for _ in range(10):
        assert await credentials.user(basic("olga"))
        assert not await credentials.user(basic("nobody", "wrong"))  # which takes as long
    assert len(computed) == 2


async def test_no_password_stays_in_memory(credentials: Credentials) -> None:
    assert await credentials.user(basic("olga"))
    assert not await credentials.user(basic("nobody"))
    assert not await credentials.user(bearer("a guessed password"))
    assert (len(credentials._good), len(credentials._bad)) == (1, 2)
    kept = repr(vars(credentials))
    for secret in (PASSWORD, "a guessed password", basic("olga").decode()[6:]):
        assert secret not in kept


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
    credentials: Credentials, computed: list[bytes]
) -> None:
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


async def test_invalid_hash_lets_nobody_in(folder: Path) -> None:
    with (folder / htpasswd.CALLERS).open("a") as file:
        file.write(f"odd:$2y$05${'/' * 21}z{'.' * 31}\n")
    credentials = Credentials(folder)
    credentials.open()
    assert await credentials.user(basic("odd")) is None


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
