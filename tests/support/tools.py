"""What integration tests say often: at once, within so many seconds, a proper problem."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx

from model_deployment.core.errors import problem_type
from tests.support.waiting import until_sync

S = TypeVar("S")
T = TypeVar("T")

PROBLEM = "application/problem+json"


def check_problem(answer: httpx.Response) -> Any:
    """An error is a problem document (RFC 9457) that says what cannot be done, without a trace."""
    assert answer.headers["content-type"] == PROBLEM, answer.text
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["type"] == problem_type(problem["title"])
    assert problem["detail"].startswith("cannot "), problem
    assert "Traceback" not in problem["detail"]
    if answer.status_code == 503 and problem.get("state") != "failed":  # where trying again helps
        assert int(answer.headers["retry-after"]) > 0
    return problem


def at_once(call: Callable[[S], T], arguments: Sequence[S]) -> list[T]:
    """Make a call with each argument at the same time, on a thread of its own; results in order."""
    with ThreadPoolExecutor(len(arguments)) as pool:
        return [*pool.map(call, arguments)]


@contextmanager
def within(seconds: float, held_up: Callable[[], float] = lambda: 0.0) -> Iterator[None]:
    """What is promised to be quick has to be; the time for which it was held up does not count."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began - held_up()
    assert took <= seconds, f"took {took:.2f} s, and {seconds:g} s are promised"


def pause(seconds: float) -> None:
    """Let time pass where the moment matters, and nothing tells that it has come."""
    end = time.monotonic() + seconds
    until_sync(lambda: time.monotonic() >= end, timeout=seconds + 1, interval=0.01)
