"""How often an address may try enrolment codes that are not good."""

import pytest

from model_deployment.api.attempts import LIMIT, WITHIN, Attempts
from model_deployment.core.errors import TooManyAttempts


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    return Attempts(clock)


def test_the_last_one_too_many_has_to_wait_until_the_first_is_old(
    attempts: Attempts, clock: Clock
) -> None:
    for place in range(LIMIT):
        attempts.check("10.0.0.1")
        attempts.failed("10.0.0.1")
        clock.now += 1 if place == 0 else 0.5
    with pytest.raises(TooManyAttempts, match=r"10 codes from 10.0.0.1 were not good") as refused:
        attempts.check("10.0.0.1")
    assert refused.value.retry_after == WITHIN - 5  # 5.5 s after the first one, rounded up
    attempts.check("10.0.0.2")
    clock.now += WITHIN - 5.5
    attempts.check("10.0.0.1")
    attempts.failed("10.0.0.1")
    with pytest.raises(TooManyAttempts):
        attempts.check("10.0.0.1")


def test_good_codes_count_for_nothing(attempts: Attempts) -> None:
    for _ in range(1000):
        attempts.check("10.0.0.1")


def test_memory_is_bounded_and_who_failed_last_is_remembered(
    attempts: Attempts, clock: Clock
) -> None:
    for _ in range(LIMIT):
        attempts.failed("10.0.0.1")
    for place in range(20_000):
        attempts.failed(f"host-{place}")
        if place % 5000 == 0:
            attempts.failed("10.0.0.1")
    assert len(attempts._failed) == 10_000
    with pytest.raises(TooManyAttempts):
        attempts.check("10.0.0.1")
    clock.now += WITHIN
    attempts.check("10.0.0.1")
    assert "10.0.0.1" not in attempts._failed
