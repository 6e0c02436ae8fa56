"""Several proxies share a limit, in one process: every order of their steps keeps it."""

import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_deployment.proxy.held_bytes import HeldKind
from model_deployment.proxy.limits_file import LimitsFile, create_limits_file
from model_deployment.proxy.shared_limits import SharedLimits, SharedNumber, unshared_usage

COLUMNS = 3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_limits_file(tmp_path / "limits", rows=8, columns=COLUMNS)
    return tmp_path / "limits"


def test_one_proxy_has_the_whole_limit() -> None:
    usage = unshared_usage()
    assert [usage.callers.add(1, 2) for _ in range(3)] == [True, True, False]
    usage.callers.subtract(1)
    assert usage.callers.add(1, 2)
    assert usage.held.own == usage.queued.own == 0


def test_a_single_request_may_hold_any_number_of_bytes() -> None:
    held = unshared_usage().held
    assert held.add(100, 10, 0)
    assert held.add(100, 10, 100)
    assert not held.add(1, 10, 0)
    held.subtract(200)
    assert held.add(9, 10, 0)
    assert not held.add(9, 10, 0)


def test_a_slot_goes_to_the_request_that_waits_longest(path: Path) -> None:
    with closing(SharedLimits.open(path, 0)) as one, closing(SharedLimits.open(path, 1)) as two:
        here, there = one.row(1).slots, two.row(1).slots
        assert here.take(1)
        assert not there.take(1)
        there.wait(5)
        here.free()
        assert not here.take(1)
        assert not here.take(1, since=6)
        assert here.take(1, since=4)
        here.free()
        assert there.take(1, since=5)
        there.wait(0)
        there.free()
        assert here.take(1)


def test_rows_have_limits_of_their_own(path: Path) -> None:
    with closing(SharedLimits.open(path, 0)) as one, closing(SharedLimits.open(path, 1)) as two:
        assert one.row(0).callers.add(1, 1)
        assert not two.row(0).callers.add(1, 1)
        assert two.row(1).callers.add(1, 1)
        assert two.row(0).queued.add(1, 1)
        assert two.row(0).slots.take(1)
        with pytest.raises(IndexError, match="row 8: there are 8 rows"):
            one.row(8)


def test_a_proxy_that_leaves_uses_nothing(path: Path) -> None:
    with closing(SharedLimits.open(path, 0)) as one:
        with closing(SharedLimits.open(path, 1)) as two:
            assert two.row(0).callers.add(1, 1)
            assert not one.row(0).callers.add(1, 1)
        assert one.row(0).callers.add(1, 1)
        with closing(SharedLimits.open(path, 1)) as two:
            assert not two.row(0).callers.add(1, 1)
            assert two.row(0).callers.total == 1


def test_a_column_has_one_owner(path: Path) -> None:
    with closing(SharedLimits.open(path, 1)):
        with pytest.raises(ValueError, match="as proxy 1: process"):
            SharedLimits.open(path, 1)
        with pytest.raises(ValueError, match="as proxy 3 of 3"):
            SharedLimits.open(path, 3)
    SharedLimits.open(path, 1).close()


def test_the_file_is_private_and_kept(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with closing(SharedLimits.open(path, 1)) as one:
        one.row(0).callers.add(1, 1)
        create_limits_file(path, rows=8, columns=COLUMNS)
        with closing(SharedLimits.open(path, 0)) as two:
            assert two.row(0).callers.total == 1


@pytest.mark.parametrize("content", [b"", b"limits-1", b"other" * 1000])
def test_a_file_of_another_form_is_replaced(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    create_limits_file(path, rows=2, columns=COLUMNS)
    with closing(SharedLimits.open(path, 0)) as limits:
        assert limits.row(1).callers.total == 0


def test_a_file_of_another_form_is_not_opened(path: Path) -> None:
    path.write_bytes(b"other..." * 1000)
    with pytest.raises(ValueError, match="another format"):
        SharedLimits.open(path, 0)


# Every order of steps: each proxy is a thread, and only one of them runs until its next step.


def test_the_file_of_the_release_before_is_replaced_and_its_proxies_go_on(path: Path) -> None:
    before = path.with_name("before")
    # As it was: no record beside those of deployments, and another name of the format.
    boot = path.read_bytes()[8:16]
    head = b"limits-1" + boot + (8).to_bytes(8, "little") + COLUMNS.to_bytes(8, "little")
    before.write_bytes(head.ljust(64 * (1 + COLUMNS + COLUMNS * 8), b"\0"))
    with pytest.raises(ValueError, match="another format"):
        LimitsFile.open(before, 0)
    with before.open("r+b") as mapped:
        create_limits_file(before, rows=8, columns=COLUMNS)
        mapped.write(b"limits-1")  # what an old proxy has mapped is another file by now
    with closing(SharedLimits.open(before, 0)) as one, closing(SharedLimits.open(before, 1)) as two:
        here, there = one.held_bytes(100), two.held_bytes(100)
        here.take(HeldKind.CALL, 10, 0)
        assert there.total(HeldKind.CALL) == 10
        # The last row of deployments is not the common one.
        one.row(7).held.add(5, 10)
        assert there.total(HeldKind.PREDICTION) == 0


class SteppedFile(LimitsFile):
    """Stops between what a proxy writes and what it reads then."""

    pause: Callable[[], None] = staticmethod(lambda: None)

    def fence(self) -> None:
        self.pause()


@dataclass
class Stepper:
    """A proxy that does what its story says, a step at a time."""

    table: SteppedFile
    limit: int
    story: list[int]
    #: What the requests of all proxies have; shared by all steppers.
    taken: list[int]
    mine: list[int] = field(default_factory=list)
    #: The story is at its end. A thread that has told so may still be alive.
    _ended: bool = False
    _go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _stopped: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __post_init__(self) -> None:
        self.number = SharedNumber(self.table, self.table.row(1))
        self.table.pause = self._pause
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def step(self) -> bool:
        """Run to the next pause; False at the end of the story."""
        if self._ended:
            return False
        self._go.release()
        assert self._stopped.acquire(timeout=30)
        return True

    def join(self) -> None:
        while self.step():
            pass
        self._thread.join(30)

    def _pause(self) -> None:
        self._stopped.release()
        self._go.acquire()

    def _run(self) -> None:
        self._go.acquire()
        for amount in [*self.story, *(0 for _ in self.story)]:
            if amount:
                if self.number.add(amount, self.limit, 0):
                    self.taken.append(amount)
                    self.mine.append(amount)
            elif self.mine:
                self.taken.remove(self.mine[-1])
                self.number.subtract(self.mine.pop())
            self._pause()
        self.table.pause = lambda: None
        self._ended = True
        self._stopped.release()


@contextmanager
def stepped_files() -> Iterator[list[SteppedFile]]:
    with TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "limits"
        create_limits_file(path, rows=2, columns=COLUMNS)
        yield [
            stack.enter_context(closing(SteppedFile.open(path, column)))
            for column in range(COLUMNS)
        ]


# 0 gives back what was added last.
stories = st.lists(st.sampled_from([0, 0, 1, 1, 2, 5]), max_size=12)


@settings(max_examples=150, deadline=None)
@given(
    limit=st.integers(1, 4),
    everybody=st.lists(stories, min_size=COLUMNS, max_size=COLUMNS),
    order=st.lists(st.integers(0, COLUMNS - 1), max_size=80),
)
def test_no_order_of_steps_exceeds_the_limit(
    limit: int, everybody: list[list[int]], order: list[int]
) -> None:
    with stepped_files() as tables:
        taken: list[int] = []
        proxies = [
            Stepper(table, limit, story, taken)
            for table, story in zip(tables, everybody, strict=True)
        ]
        for turn in order:
            proxies[turn].step()
            # A single request may be larger than the limit.
            assert sum(taken) <= limit or len(taken) == 1
        for proxy in proxies:
            proxy.join()
        assert not taken
        assert [proxy.number.own for proxy in proxies] == [0] * COLUMNS
        assert tables[0].sum_of_others(tables[0].row(1)) == 0
