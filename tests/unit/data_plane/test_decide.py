"""Which proxies are started, retired and killed."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from model_deployment.data_plane.decide import (
    FIRST_PAUSE,
    GRACE,
    LONGEST_PAUSE,
    SILENT_LOOKS,
    START_TIMEOUT,
    TABLE_TIMEOUT,
    Kill,
    Phase,
    ProxyState,
    Retire,
    Start,
    decide,
    pause_after,
)

SERVING = ProxyState("a", Phase.SERVING, current=True, since=0.0)


def of(id: str, phase: Phase = Phase.SERVING, *, current: bool = True) -> ProxyState:
    return replace(SERVING, id=id, phase=phase, current=current)


def test_as_many_are_started_as_are_missing() -> None:
    assert decide([], 2, now=1) == [Start(), Start()]
    assert decide([of("a")], 2, now=1) == [Start()]
    assert decide([of("a"), of("b", Phase.STARTING)], 2, now=1) == []
    assert decide([of("a", Phase.RETIRING)], 1, now=1) == [Start()]


def test_none_is_started_during_a_pause() -> None:
    assert decide([], 1, now=1, not_before=1.5) == []
    assert decide([], 1, now=1.5, not_before=1.5) == [Start()]


def test_outdated_ones_serve_until_the_new_ones_do() -> None:
    old = [of("a", current=False), of("b", current=False)]
    assert decide(old, 2, now=1) == [Start(), Start()]
    new = [of("c", Phase.STARTING), of("d")]
    assert decide([*old, *new], 2, now=1) == []
    new = [of("c"), of("d")]
    assert decide([*old, *new], 2, now=1) == [Retire("a"), Retire("b")]


def test_one_too_many_is_retired() -> None:
    assert decide([of("a"), of("b"), of("c")], 2, now=1) == [Retire("c")]


def test_a_silent_one_is_killed_and_replaced() -> None:
    silent = replace(SERVING, silent_looks=SILENT_LOOKS)
    assert decide([replace(silent, silent_looks=SILENT_LOOKS - 1)], 1, now=1) == []
    kill, start = decide([silent], 1, now=1)
    assert isinstance(kill, Kill)
    assert kill.id == "a"
    assert start == Start()


def test_one_that_does_not_take_a_route_table_is_killed() -> None:
    lagging = replace(SERVING, lagging=TABLE_TIMEOUT)
    assert decide([lagging], 1, now=1) == []
    kill, start = decide([replace(lagging, lagging=TABLE_TIMEOUT + 1)], 1, now=1)
    assert isinstance(kill, Kill)
    assert start == Start()


def test_one_that_never_serves_is_killed() -> None:
    late = replace(SERVING, phase=Phase.STARTING)
    assert decide([late], 1, now=START_TIMEOUT) == []
    assert any(isinstance(one, Kill) for one in decide([late], 1, now=START_TIMEOUT + 0.1))


def test_a_retiring_one_gets_the_time_that_its_requests_have() -> None:
    retiring = replace(SERVING, phase=Phase.RETIRING, patience=30.0)
    assert decide([retiring], 0, now=30 + GRACE) == []
    assert [type(one) for one in decide([retiring], 0, now=30.1 + GRACE)] == [Kill]


def test_pauses_double_up_to_a_limit() -> None:
    pause, seen = 0.0, []
    for _ in range(8):
        pause = pause_after(pause)
        seen.append(pause)
    assert seen[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert seen[-1] == LONGEST_PAUSE


@given(
    st.lists(
        st.tuples(st.sampled_from(Phase), st.booleans(), st.integers(0, SILENT_LOOKS)), max_size=6
    ),
    st.integers(0, 4),
)
def test_the_address_is_never_left_without_a_proxy_by_choice(
    drawn: list[tuple[Phase, bool, int]], wanted: int
) -> None:
    """Only silent ones and ones beyond the wanted number stop to serve."""
    proxies = [
        ProxyState(str(place), phase, current=current, since=0.0, silent_looks=silent)
        for place, (phase, current, silent) in enumerate(drawn)
    ]
    actions = decide(proxies, wanted, now=1.0)
    gone = {one.id for one in actions if isinstance(one, Kill | Retire)}
    healthy = [p for p in proxies if p.phase is Phase.SERVING and p.silent_looks < SILENT_LOOKS]
    left = [p for p in healthy if p.id not in gone]
    assert len(left) >= min(wanted, len(healthy))
    started = sum(isinstance(one, Start) for one in actions)
    staying = [
        p for p in proxies if p.current and p.phase is not Phase.RETIRING and p.id not in gone
    ]
    assert started + len(staying) >= wanted
