"""One budget for all that is held for callers; shares, and who is refused when."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from model_deployment.core.errors import TooManyBodies
from model_deployment.data_plane.held_figures import HeldReader
from model_deployment.proxy.held_bytes import LOOK, SMALL, HeldBytes, HeldKind, Holding, Pace
from model_deployment.proxy.limits_file import LimitsFile, create_limits_file

MB = 1024 * 1024
BUDGET = 64 * MB
PREDICTION, CALL, ANSWER = HeldKind


def fill(held: HeldBytes, kind: HeldKind, size: int = MB) -> list[Holding]:
    """As many bodies as there is room for."""
    taken: list[Holding] = []
    while True:
        one = Holding(held, kind)
        try:
            one.add(size)
        except TooManyBodies:
            return taken
        taken.append(one)


@contextmanager
def two(path: Path) -> Iterator[tuple[HeldBytes, HeldBytes]]:
    create_limits_file(path, rows=2, columns=2)
    with ExitStack() as stack:
        tables = [stack.enter_context(closing(LimitsFile.open(path, n))) for n in (0, 1)]
        one, other = (HeldBytes(table, BUDGET) for table in tables)
        yield one, other


@pytest.mark.parametrize("first", HeldKind)
@pytest.mark.parametrize("size", [SMALL, SMALL + 1, MB, 10 * MB])
def test_no_kind_shuts_out_another_and_all_stay_in_the_budget(first: HeldKind, size: int) -> None:
    held = HeldBytes.unshared(BUDGET)
    order = [first, *(kind for kind in HeldKind if kind != first)]
    for kind in order:
        bodies = fill(held, kind, size)
        assert bodies, f"{kind.name} has a share of its own"
        assert held.total(kind) == len(bodies) * size
    assert held.held <= BUDGET + 2 * size  # where a share is smaller than one body


def test_one_kind_alone_leaves_the_shares_of_the_others() -> None:
    for kind, most in ((PREDICTION, 44), (CALL, 36), (ANSWER, 36)):
        held = HeldBytes.unshared(BUDGET)
        # 64 MB, of which small bodies have a sixteenth, and the other kinds their shares.
        assert len(fill(held, kind)) == most


def test_small_bodies_find_room_beside_large_ones() -> None:
    held = HeldBytes.unshared(BUDGET)
    large = fill(held, CALL)
    small = fill(held, CALL, SMALL)
    assert len(small) * SMALL == BUDGET // 16
    with pytest.raises(TooManyBodies):
        Holding(held, CALL).add(SMALL)
    large[0].release()
    Holding(held, CALL).add(SMALL)


@pytest.mark.parametrize("kind", HeldKind)
def test_a_body_alone_is_let_in_however_large(kind: HeldKind) -> None:
    held = HeldBytes.unshared(1000)
    other = next(one for one in HeldKind if one != kind)
    Holding(held, other).add(10_000)
    alone = Holding(held, kind)
    alone.add(5000)
    alone.add(5000)
    with pytest.raises(TooManyBodies, match="MODEL_DEPLOYMENT_MAX_HELD_BYTES") as refused:
        Holding(held, kind).add(1)
    assert refused.value.retry_after == 2
    alone.release()
    assert held.total(kind) == 0
    Holding(held, kind).add(10_000)


def test_what_is_refused_is_not_held_and_is_counted() -> None:
    held = HeldBytes.unshared(BUDGET)
    bodies = fill(held, PREDICTION)
    body = Holding(held, PREDICTION)
    for _ in range(3):
        with pytest.raises(TooManyBodies):
            body.add(MB)
    assert body.size == 0
    assert held.held == len(bodies) * MB
    assert held.refused(PREDICTION) == 4
    assert held.refused(CALL) == 0
    assert held.pressed_within(60)
    assert held.most == held.held


def test_a_holding_ends_once() -> None:
    held = HeldBytes.unshared(BUDGET)
    with Holding(held, ANSWER) as holding:
        holding.ensure(100)
        holding.ensure(50)
        assert held.own(ANSWER) == 100
        holding.release()
    assert held.held == 0
    assert held.most == 100


def test_proxies_share_the_budget_and_what_a_dead_one_held_is_free(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    with two(path) as (one, other):
        here = fill(one, PREDICTION)
        assert len(here) == 44
        assert not other.pressed_within(0)
        with pytest.raises(TooManyBodies):
            Holding(other, PREDICTION).add(MB)
        assert one.pressed_within(60)
        here[0].release()
        Holding(other, PREDICTION).add(MB)
        assert one.total(PREDICTION) == other.total(PREDICTION) == 44 * MB
        reader = HeldReader(path, BUDGET)
        figures = reader.figures()
        assert figures.held == {"prediction": 44 * MB, "call": 0, "answer": 0}
        assert (figures.limit, figures.refused["prediction"]) == (BUDGET, 2)
        one._table.close()
        assert other.total(PREDICTION) == MB
    # Counts stay when those who counted are gone.
    assert reader.figures().refused["prediction"] == 2
    assert sum(reader.figures().held.values()) == 0


def test_figures_of_no_file_and_of_another_format(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(bytes(640))
    for path in (tmp_path / "none", tmp_path / "other"):
        assert HeldReader(path, 7).figures().held == {"prediction": 0, "call": 0, "answer": 0}


class Clock:
    """The time of an event loop that passes when it is told so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("asyncio.get_running_loop", lambda: self)

    def time(self) -> float:
        return self.now


def lasts(clock: Clock, pace: Pace, rate: float, step: float, most: float = 10_000) -> float:
    """Seconds until a transfer of so many bytes a second ends."""
    began = clock.now
    while clock.now - began < most:
        clock.now += step
        pace.moved(int(rate * step))
        if pace.too_slow():
            return clock.now - began
    return most


@pytest.mark.parametrize(
    ("rate", "step", "seconds"),
    [
        (0, 1, 30),  # idle
        (1, 1, 60),  # a trickle has what every body has
        (32 * 1024, 1, 120),  # and a slow one a second more for each 64 KiB
        (100_000, 1, 10_000),  # an honest one has no end
        (100_000, 29, 10_000),
    ],
)
def test_a_body_may_pause_and_be_slow_for_a_time(
    monkeypatch: pytest.MonkeyPatch, rate: float, step: float, seconds: float
) -> None:
    clock = Clock(monkeypatch)
    assert lasts(clock, Pace(30, 60, None), rate, step) == pytest.approx(seconds, abs=1)


@pytest.mark.parametrize(("rate", "ends"), [(0, True), (10_000, True), (100_000, False)])
def test_who_crawls_while_others_are_refused_ends_soon(
    monkeypatch: pytest.MonkeyPatch, rate: float, ends: bool
) -> None:
    clock = Clock(monkeypatch)
    held = HeldBytes.unshared(MB)
    holding = Holding(held, CALL)
    holding.add(MB)
    pace = Pace(30, 60, holding)
    assert lasts(clock, pace, rate or 1, 1, most=29) == 29  # nobody is refused
    with pytest.raises(TooManyBodies):
        Holding(held, CALL).add(1)
    assert (lasts(clock, pace, rate, 1, most=2 * LOOK) <= 2 * LOOK - 1) is ends


def test_the_next_look_is_never_later_than_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    pace = Pace(1, 60, None)
    assert pace.next() == clock.now + 1
    pace = Pace(100, 2, None)
    assert pace.next() == clock.now + 2
    pace = Pace(100, 100, None)
    assert pace.next() == clock.now + LOOK
