"""Which version answers: fair, sticky, and a share that grows moves nobody back."""

from hypothesis import given
from hypothesis import strategies as st

from model_deployment.proxy.split import SHADOW, position

rollouts = st.integers(0, 2**40)
keys = st.binary(max_size=200)


@given(rollouts, keys)
def test_a_request_has_one_position_in_every_process(rollout: int, key: bytes) -> None:
    assert 0 <= position(rollout, key) < 1
    assert position(rollout, key) == position(rollout, bytes(bytearray(key)))


@given(rollouts, st.floats(0, 1), st.floats(0, 1))
def test_a_share_gets_its_part_and_growing_takes_nobody_away(
    rollout: int, one: float, other: float
) -> None:
    small, large = sorted((one, other))
    drawn = [position(rollout, b"%d" % key) for key in range(2000)]
    before = {key for key, place in enumerate(drawn) if place < small}
    after = {key for key, place in enumerate(drawn) if place < large}
    assert before <= after
    # Six standard deviations at most.
    assert abs(len(after) / 2000 - large) < 0.07


def test_rollouts_and_purposes_draw_different_callers() -> None:
    sets = [
        {key for key in range(2000) if position(rollout, b"%d" % key, draw) < 0.5}
        for rollout, draw in ((1, b"canary"), (2, b"canary"), (1, SHADOW))
    ]
    for first in range(3):
        for second in range(first):
            assert 400 < len(sets[first] & sets[second]) < 600


def test_positions_stay_what_they_are() -> None:
    """Proxies of two releases serve at the same time while one replaces the other."""
    assert position(7, b"alice") == 0.4760183234721368
