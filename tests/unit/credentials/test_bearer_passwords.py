"""Bearer tokens that are passwords, with the name of their user or without."""

import asyncio
import threading
from pathlib import Path

import pytest

from model_deployment.core.errors import Unauthenticated, Unavailable
from model_deployment.core.users import Role, User
from model_deployment.credentials import htpasswd, verify
from model_deployment.credentials.access import USER, Access
from model_deployment.credentials.verify import Credentials
from tests.support.passwords import PASSWORD, basic, bearer


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
