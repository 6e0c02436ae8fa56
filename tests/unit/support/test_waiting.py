"""The wait helper returns what it waited for, and fails with what it saw last."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.waiting import until, until_sync


def answers(*values: Any) -> Callable[[], Any]:
    """A predicate that returns or raises one value after another."""
    left = iter(values)

    def predicate() -> Any:
        value = next(left)
        if isinstance(value, Exception):
            raise value
        return value

    return predicate


def test_returns_the_first_truthy_value() -> None:
    values = (None, 0, ConnectionRefusedError(), AssertionError(), "yes")
    assert until_sync(answers(*values), interval=0) == "yes"


async def test_takes_both_kinds_of_predicate() -> None:
    assert await until(answers(None, OSError(), "yes"), interval=0) == "yes"
    predicate = answers(None, TimeoutError(), "yes")

    async def ask() -> Any:
        return predicate()

    assert await until(ask, interval=0.001) == "yes"


async def test_names_what_it_waited_for_and_what_it_saw() -> None:
    with pytest.raises(AssertionError, match=r"in vain for the port; last: OSError\('no'\)"):
        until_sync(answers(*[OSError("no")] * 99), timeout=0.01, what="the port")
    with pytest.raises(AssertionError, match="in vain for the row; last: ''"):
        await until(lambda: "", timeout=0.01, what="the row")


def test_a_long_wait_asks_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    asked: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda pause: now.append(now.pop() + pause))
    with pytest.raises(AssertionError, match="waited 30 s in vain"):
        until_sync(lambda: asked.append(now[0]), timeout=30)
    assert len([at for at in asked if at < 1000.19]) == 10
    assert len(asked) < 250
    assert asked[-1] == 1030


async def test_cuts_off_an_attempt_that_hangs() -> None:
    with pytest.raises(AssertionError, match="TimeoutError"):
        await until(asyncio.Event().wait, timeout=0.02)


async def test_lets_other_mistakes_through() -> None:
    with pytest.raises(KeyError):
        await until(answers(KeyError()))
    with pytest.raises(KeyError):
        until_sync(answers(KeyError()))
