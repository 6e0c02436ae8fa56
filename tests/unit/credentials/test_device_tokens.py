"""Tokens of devices: who has one, that it is no password, and that a revoked one is out at once."""

import asyncio
import base64
import secrets
from pathlib import Path

import pytest

from model_deployment.core.errors import CredentialsError, Unauthenticated
from model_deployment.core.users import Role, User
from model_deployment.credentials import htpasswd
from model_deployment.credentials.device_tokens import (
    UNVERIFIED,
    DeviceTokens,
    token_hash,
    token_of,
)
from model_deployment.credentials.verify import NOBODY, Credentials
from tests.support.passwords import PASSWORD, Clock

#: The same in all processes of the tests, which compare what they have collected.
TOKEN = b"mdd_" + base64.urlsafe_b64encode(bytes(range(32))).rstrip(b"=")
CAMERA = User("camera-7", Role.DEVICE, "halls", 7)


class Rows:
    """The devices of a database, by hash, and how often it was asked."""

    def __init__(self) -> None:
        self.good = {token_hash(TOKEN): CAMERA}
        self.asked = 0
        self.entered = asyncio.Event()
        self.gate: asyncio.Event | None = None

    async def lookup(self, hashed: str) -> User | None:
        self.asked += 1
        found = self.good.get(hashed)
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        return found


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def tokens(rows: Rows, clock: Clock) -> DeviceTokens:
    return DeviceTokens(rows.lookup, clock)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    htpasswd.set_user(tmp_path, "olga", PASSWORD, Role.OPERATOR)
    return tmp_path


def opened(folder: Path, tokens: DeviceTokens | None = None) -> Credentials:
    made = Credentials(folder)
    made.open()
    if tokens is not None:
        made.look_devices_up(tokens)
    return made


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None),
        (b"", None),
        (b"Bearer x", None),
        (b"Bearer x:mdd_a", None),
        (b"Basic mdd_a", None),
        (b"Bearer mdd_a", b"mdd_a"),
        (b"bearer  mdd_a ", b"mdd_a"),
        (b"BEARER mdd_", b"mdd_"),
        (b"Bearer MDD_a", None),
    ],
)
def test_token_is_told_from_a_password(header: bytes | None, token: bytes | None) -> None:
    assert token_of(header) == token


async def test_good_token_names_its_device(tokens: DeviceTokens, rows: Rows) -> None:
    assert await tokens.user(TOKEN) == CAMERA
    assert await tokens.user(TOKEN) == CAMERA
    assert rows.asked == 1


@pytest.mark.parametrize(
    "token", [b"mdd_", b"mdd_x", TOKEN + b"x", TOKEN[:-1], TOKEN[:-1] + b"!", TOKEN[:-1] + b"\n"]
)
async def test_what_is_no_token_is_refused_unasked(
    tokens: DeviceTokens, rows: Rows, token: bytes
) -> None:
    with pytest.raises(Unauthenticated):
        await tokens.user(token)
    assert rows.asked == 0


async def test_unknown_token_is_refused_each_time(tokens: DeviceTokens, rows: Rows) -> None:
    other = b"mdd_" + b"x" * 43
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="revoked or replaced"):
            await tokens.user(other)
    rows.good[token_hash(other)] = CAMERA  # a device that registers now is in at once
    assert await tokens.user(other) == CAMERA


async def test_revoked_token_is_out_at_once(tokens: DeviceTokens, rows: Rows) -> None:
    await tokens.user(TOKEN)
    rows.good.clear()
    tokens.forget()
    with pytest.raises(Unauthenticated):
        await tokens.user(TOKEN)


async def test_token_revoked_elsewhere_is_out_within_a_second(
    tokens: DeviceTokens, rows: Rows, clock: Clock
) -> None:
    await tokens.user(TOKEN)
    rows.good.clear()
    clock.now += 1.0
    with pytest.raises(Unauthenticated):
        await tokens.user(TOKEN)


async def test_token_revoked_while_it_is_looked_up_is_out(tokens: DeviceTokens, rows: Rows) -> None:
    rows.gate = asyncio.Event()
    asking = asyncio.ensure_future(tokens.user(TOKEN))
    await rows.entered.wait()
    rows.good.clear()
    tokens.forget()
    rows.gate.set()
    with pytest.raises(Unauthenticated):
        await asking
    with pytest.raises(Unauthenticated):
        await tokens.user(TOKEN)


async def test_tokens_of_many_devices_do_not_pile_up(tokens: DeviceTokens, rows: Rows) -> None:
    many = [b"mdd_%043d" % number for number in range(9000)]
    rows.good |= {token_hash(token): CAMERA for token in many}
    for token in many:
        await tokens.user(token)
    assert len(tokens._known) <= 8192
    assert await tokens.user(many[-1]) == CAMERA
    assert rows.asked == 9000


async def test_device_is_a_device_where_there_are_passwords(
    folder: Path, tokens: DeviceTokens
) -> None:
    credentials = opened(folder, tokens)
    assert await credentials.user(b"Bearer " + TOKEN) == CAMERA
    assert await credentials.user(b"Bearer " + PASSWORD.encode()) == User("olga", Role.OPERATOR)
    with pytest.raises(Unauthenticated):
        await credentials.user(b"Bearer mdd_wrong")


async def test_device_is_a_device_where_nobody_needs_a_password(
    tmp_path: Path, tokens: DeviceTokens
) -> None:
    credentials = opened(tmp_path, tokens)
    assert await credentials.user(None) == NOBODY
    assert await credentials.user(b"Bearer " + TOKEN) == CAMERA
    with pytest.raises(Unauthenticated):
        await credentials.user(b"Bearer mdd_wrong")


async def test_proxy_verifies_no_token(folder: Path, tmp_path: Path) -> None:
    for made in (opened(folder), opened(tmp_path / "none")):
        for token in (TOKEN, b"mdd_wrong"):
            assert await made.user(b"Bearer " + token) == UNVERIFIED
    assert not UNVERIFIED.may(Role.CALLER)
    assert not UNVERIFIED.may(Role.OPERATOR)


def test_no_password_looks_like_a_token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CredentialsError, match="tokens of devices"):
        htpasswd.set_user(folder, "olga", "mdd_" + PASSWORD, Role.OPERATOR)
    drawn = iter(["mdd_" + "x" * 28, "y" * 32])
    monkeypatch.setattr(secrets, "token_urlsafe", lambda size: next(drawn))
    assert htpasswd.new_password() == "y" * 32


def test_no_user_with_a_password_is_a_device(folder: Path) -> None:
    before = htpasswd.read(folder)
    with pytest.raises(CredentialsError, match="tokens instead of passwords"):
        htpasswd.set_user(folder, "camera-7", PASSWORD, Role.DEVICE)
    assert htpasswd.read(folder) == before


def test_roles_may_what_they_may() -> None:
    for role in Role:
        user = User("x", role)
        assert {one for one in Role if user.may(one)} == (
            {*Role} if role is Role.OPERATOR else {role}
        )
