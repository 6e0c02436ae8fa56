"""What devices send is stored once, in order, and becomes what it is about."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.device_messages import LINES_KEPT, BrokenMessage, ReceivedBatch
from model_deployment.core.devices import UNSUCCESSFUL, DeviceMessage, MessageKind, UpdateState
from model_deployment.core.releases import ReleaseState
from tests.support.stored_devices import (
    WHEN,
    DeviceStores,
    log,
    metrics,
    opened,
    progress,
)

U = UpdateState


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DeviceStores]:
    async with opened(tmp_path) as it:
        yield it


async def numbers(store: DeviceStores) -> list[tuple[int, int]]:
    """Device and number of each row, in the order in which they were stored."""
    rows = await store.execute("SELECT device_id, seq FROM device_messages ORDER BY id")
    return [(row["device_id"], row["seq"]) for row in rows]


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ([], 0), ([1], 1), ([1, 2, 3], 3), ([1, 1, 2, 2], 2), ([2], 0), ([1, 3], 1), ([3, 2, 1], 1),
        ([1, 3, 2, 3], 3), ([0, 1], 1), ([1, 2, 2, 1, 5, 3], 3),
    ],
)  # fmt: skip
async def test_the_number_after_the_last_is_stored_and_no_other(
    store: DeviceStores, sent: list[int], stored: int
) -> None:
    device = await store.connected()
    for _ in range(2):  # sent again, it changes nothing
        assert await store.receive(device, *map(metrics, sent)) == stored
        assert await numbers(store) == [(device.id, seq) for seq in range(1, stored + 1)]
        assert (await store.reread(device)).received == stored
        sent = [seq for seq in sent if seq <= stored]


async def test_many_devices_are_stored_in_one_transaction(store: DeviceStores) -> None:
    devices = [await store.connected(f"camera-{n}") for n in range(4)]
    a, b, c, d = devices
    await store.devices.revoke(d)
    unheard = [await store.reread(one) for one in (c, d)]
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)

    def batch(device: Any, *seqs: int, generation: int | None = 1, at: datetime = WHEN) -> Any:
        return ReceivedBatch(device.id, generation, "s", [*map(metrics, seqs)], at)

    found = await store.devices.receive([
        batch(a, 1, 2), batch(b, 1), batch(a, 2, 3, at=later), batch(c, 1, generation=0),
        batch(c, 1, generation=2), batch(d, 1), ReceivedBatch(999, 1, "s", [metrics(1)], WHEN),
        batch(b), batch(a, 4, at=WHEN),
    ])  # fmt: skip
    assert found == {a.id: 4, b.id: 1}
    assert await numbers(store) == [(a.id, 1), (a.id, 2), (b.id, 1), (a.id, 3), (a.id, 4)]
    assert [await store.reread(one) for one in (c, d)] == unheard
    assert (await store.reread(a)).last_seen_at == later
    assert await store.devices.receive([]) == {}


async def test_last_seen_is_when_the_newest_came(store: DeviceStores) -> None:
    device = await store.device()
    for seconds, newest in ((5, 5), (9, 9), (7, 9)):
        at = WHEN + timedelta(seconds=seconds)
        await store.devices.receive([ReceivedBatch(device.id, None, "s", [], at)])
        assert (await store.reread(device)).last_seen_at == WHEN + timedelta(seconds=newest)


async def test_without_a_connection_the_stream_itself_says_which_it_is(
    store: DeviceStores,
) -> None:
    device = await store.device()
    assert await store.receive_polled(device, metrics(1), metrics(2)) == 2
    assert await store.receive_polled(device, metrics(2), metrics(3)) == 3
    assert await store.receive_polled(device, metrics(4), metrics(1), stream="new") == 1
    found = await store.reread(device)
    assert (found.stream, found.received, found.generation) == ("new", 1, 0)
    connected = await store.devices.connect(device, stream="new", agent="1", running=None)
    assert await store.receive(connected, metrics(2), stream="new") == 2
    # A poll beside the connection goes on with the stream; one with another stream ends it.
    assert await store.receive_polled(device, metrics(3), stream="new") == 3
    assert await store.receive_polled(device, metrics(1), stream="third") == 1
    assert await store.receive(connected, metrics(4), stream="new") is None


@pytest.mark.parametrize("polled_first", [True, False])
async def test_a_number_of_one_stream_is_never_told_as_one_of_another(
    store: DeviceStores, polled_first: bool
) -> None:
    device = await store.connected()
    polled = ReceivedBatch(device.id, None, "other", [*map(metrics, range(1, 9))], WHEN)
    socket = ReceivedBatch(device.id, 1, "s", [metrics(1)], WHEN)
    batches = [polled, socket] if polled_first else [socket, polled]
    assert await store.devices.receive(batches) == {}
    assert await store.devices.receive([polled]) == {device.id: 8}


async def test_a_stream_that_comes_back_is_not_stored_twice(store: DeviceStores) -> None:
    device = await store.connected()
    await store.receive(device, metrics(1), metrics(2))
    other = await store.devices.connect(device, stream="t", agent="1", running=None)
    await store.receive(other, metrics(1), stream="t")
    back = await store.devices.connect(other, stream="s", agent="1", running=None)
    assert await store.receive(back, metrics(1), metrics(2), metrics(3)) == 3
    rows = await store.execute("SELECT stream, seq FROM device_messages ORDER BY id")
    assert [tuple(row) for row in rows] == [("s", 1), ("s", 2), ("t", 1), ("s", 3)]


async def test_a_transaction_that_fails_stores_nothing(store: DeviceStores) -> None:
    first, second = await store.connected("a"), await store.connected("b")
    before = await store.dump()
    bad = DeviceMessage(2, MessageKind.PROGRESS, WHEN, {"release": 1})
    batches = [
        ReceivedBatch(first.id, 1, "s", [metrics(1)], WHEN),
        ReceivedBatch(second.id, 1, "s", [metrics(1), bad], WHEN),
    ]
    with pytest.raises(KeyError):
        await store.devices.receive(batches)
    assert await store.dump() == before


@pytest.mark.parametrize("last", [one for one in U if one is not U.OFFERED])
async def test_the_newest_report_of_a_release_counts(store: DeviceStores, last: U) -> None:
    release, device = await store.release(), await store.connected()
    await store.releases.offer(release, [device.id])
    for seq, state in enumerate((U.DOWNLOADING, U.RUNNING, U.DOWNLOADING, last), 1):
        message = progress(seq, 1, state, f"reason {seq}", bytes=seq, of=9)
        assert await store.receive(device, message) == seq
        (update,) = await store.releases.updates(release)
        assert (update.state, update.reason, update.since) == (state, f"reason {seq}", WHEN)
        assert (update.bytes, update.of) == (seq, 9)
    assert (await store.reread(device)).running == (None if last in UNSUCCESSFUL else 1)


async def test_since_is_when_a_state_was_entered(store: DeviceStores) -> None:
    release, device = await store.release(), await store.connected()
    for seq, (state, seconds, since) in enumerate(
        [("downloading", 1, 1), ("downloading", 2, 1), ("verifying", 3, 3), ("downloading", 4, 4)], 1
    ):  # fmt: skip
        at = WHEN + timedelta(seconds=seconds)
        await store.devices.receive(
            [ReceivedBatch(device.id, 1, "s", [progress(seq, 1, state)], at)]
        )
        (update,) = await store.releases.updates(release)
        assert update.since == WHEN + timedelta(seconds=since)


async def test_a_device_that_goes_back_runs_what_it_ran_before(store: DeviceStores) -> None:
    device = await store.connected()
    for version in (1, 2, 3):
        await store.release(ReleaseState.COMPLETE, version=version)

    async def report(seq: int, number: int, state: str) -> int | None:
        at = WHEN + timedelta(seconds=seq)
        await store.devices.receive(
            [ReceivedBatch(device.id, 1, "s", [progress(seq, number, state)], at)]
        )
        return (await store.reread(device)).running

    assert await report(1, 1, "running") == 1
    assert await report(2, 2, "running") == 2
    assert await report(3, 3, "failed") == 2  # it never ran it
    assert await report(4, 3, "running") == 3
    assert await report(5, 3, "failed") == 2
    assert await report(6, 2, "failed") == 1
    assert await report(7, 1, "failed") is None


@pytest.mark.parametrize("state", ReleaseState)
async def test_a_failure_is_an_event_while_the_release_is_under_way(
    store: DeviceStores, state: ReleaseState
) -> None:
    release, device = await store.release(state), await store.connected()
    hall = await store.project()
    before = len(await store.releases.events(hall, 99))
    for seq, told in enumerate(("downloading", "failed", "failed", "running", "refused"), 1):
        await store.receive(device, progress(seq, release.number, told, "no room"))
    new = (await store.releases.events(hall, 99))[:-before]
    if state in (ReleaseState.PREPARING, ReleaseState.ROLLING, ReleaseState.PAUSED):
        assert [one.reason for one in new] == ["refused: no room", "failed: no room"]
        assert {(one.device, one.number, one.state) for one in new} == {
            ("camera", release.number, None)
        }
    else:
        assert new == []


@pytest.mark.parametrize("number", [2, 99, 2**53 - 1])
async def test_a_report_of_a_release_that_is_not_there_becomes_a_line_of_the_log(
    store: DeviceStores, number: int
) -> None:
    await store.release()
    for _ in range(2):
        await store.release(project="other")  # has a number 2
    device = await store.connected()
    before = (await store.reread(device)).running
    assert await store.receive(device, progress(1, number, "running"), metrics(2)) == 2
    (line,) = await store.messages.log(device, 9)
    assert line.text == f"cannot note running of release {number}: the project has no such release"
    assert (line.level, line.at) == ("error", WHEN)
    assert await store.execute("SELECT * FROM device_updates") == []
    assert (await store.reread(device)).running == before


async def test_a_broken_message_becomes_a_line_of_the_log(store: DeviceStores) -> None:
    device = await store.connected()
    sent = metrics(1), BrokenMessage(2, "data is an object"), metrics(3)
    assert await store.receive(device, *sent) == 3
    (line,) = await store.messages.log(device, 9)
    assert (line.level, line.at) == ("error", WHEN)
    assert line.text == "cannot read message 2: data is an object"
    pending = await store.messages.pending([MessageKind.METRICS], 9)
    assert [one.seq for one in pending] == [1, 3]


async def test_messages_wait_until_they_are_elsewhere(store: DeviceStores) -> None:
    device = await store.connected("camera")
    captures = DeviceMessage(2, MessageKind.CAPTURES, WHEN, {"captures": [{"é": 1.5}]})
    await store.receive(device, metrics(1), captures, log(3, "a"), metrics(4))
    kinds = [MessageKind.METRICS, MessageKind.CAPTURES]
    found = await store.messages.pending(kinds, 9)
    assert [(one.seq, one.kind) for one in found] == [
        (1, "metrics"), (2, "captures"), (4, "metrics"),
    ]  # fmt: skip
    one = found[1]
    assert (one.project, one.device, one.device_id, one.project_id) == (
        "hall", "camera", device.id, device.project_id,
    )  # fmt: skip
    assert (one.stream, one.at, one.received_at, one.data) == ("s", WHEN, WHEN, captures.data)
    assert await store.messages.pending(kinds, 1) == found[:1]
    assert await store.messages.pending(kinds[1:], 9) == [one]
    assert await store.messages.pending([], 9) == []
    await store.messages.remove([found[0].id, one.id, 999])
    assert await store.messages.pending(kinds, 9) == found[2:]
    # They were stored: the same numbers do not come in again.
    assert await store.receive(device, metrics(1), captures) == 4
    assert await store.messages.pending(kinds, 9) == found[2:]
    assert len(await store.messages.log(device, 9)) == 1


async def test_the_log_is_read_back_page_by_page(store: DeviceStores) -> None:
    device, other = await store.connected(), await store.connected("other")
    await store.receive(other, log(1, "another's"))
    for seq in range(1, 8):
        await store.receive(device, log(seq, *(f"{seq}.{n}" for n in range(seq % 4))))
    expected = [f"{seq}.{n}" for seq in range(1, 8) for n in range(seq % 4)][::-1]
    for limit in (1, 2, 3, 5, 100):
        read, before = [], None
        while page := await store.messages.log(device, limit, before):
            assert len(page) <= limit
            read += page
            before = page[-1].id
        assert [one.text for one in read] == expected
        assert [one.id for one in read] == sorted((one.id for one in read), reverse=True)


@pytest.mark.parametrize("at", [0, -1, 10**12, 2**53 - 1, -(2**53), 10**40])
async def test_no_clock_of_a_device_keeps_its_log_from_being_read(
    store: DeviceStores, at: int
) -> None:
    device = await store.connected()
    await store.receive(device, log(1, "a", at=at))
    (line,) = await store.messages.log(device, 9)
    try:
        expected = datetime.fromtimestamp(at / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        expected = WHEN
    assert line.at == expected


@pytest.mark.parametrize("lines", [1, 7, 100])
async def test_the_last_lines_of_a_log_are_kept(store: DeviceStores, lines: int) -> None:
    device, other = await store.connected(), await store.connected("other")
    await store.receive(other, log(1, "another's"))
    total = LINES_KEPT // lines // 50 * 50 + 100  # a log is bounded at each 50th message
    texts = [f"{seq}.{n}" for seq in range(1, total + 1) for n in range(lines)]
    for start in range(0, total, 200):
        part = range(start, min(start + 200, total))
        sent = (log(seq + 1, *texts[seq * lines : (seq + 1) * lines]) for seq in part)
        await store.receive(device, *sent, metrics(10**9))
    kept = [one.text for one in await store.messages.log(device, 10**6)]
    whole = LINES_KEPT // lines * lines
    assert kept == texts[-whole:][::-1]
    assert len(await store.messages.log(other, 9)) == 1


async def test_a_log_is_bounded_while_it_comes(store: DeviceStores) -> None:
    device = await store.connected()
    for first in range(1, 300, 10):
        many = (log(seq, *["x"] * 100) for seq in range(first, first + 10))
        await store.receive(device, *many)
        (kept,) = await store.execute("SELECT count(*) FROM device_messages")
        assert kept[0] <= 60
