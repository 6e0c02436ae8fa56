"""Metrics, captures and lines of logs: what is counted, what is kept, and what is left out."""

import itertools
import json
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_deployment_agent.backoff import Backoff
from model_deployment_agent.clock import Clock
from model_deployment_agent.database import Database
from model_deployment_agent.errors import AgentError
from model_deployment_agent.log_lines import AT_ONCE, LogLines, safe
from model_deployment_agent.manifest import Manifest
from model_deployment_agent.prediction_input import PredictionInput
from model_deployment_agent.recorder import LAST_BUCKET, Recorder, bucket

RELEASE = Manifest("hall", 7, "wear", 3, 0, 1, "0.1.0", (), {}, None, None)
MINUTE = 60_000


class SetClock(Clock):
    """A clock that stands where a test sets it."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 1000 * MINUTE

    def now(self) -> int:
        return self.at


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    found = Database(tmp_path / "agent.sqlite3")
    yield found
    found.close()


def _messages(store: Database, kind: str) -> list[Any]:
    with store.transaction() as connection:
        rows = connection.execute(
            "SELECT data FROM outbox WHERE kind = ? ORDER BY id", (kind,)
        ).fetchall()
    return [json.loads(row[0]) for row in rows]


def _rows(*rows: Any, columns: tuple[str, ...] | None = ("a",)) -> PredictionInput:
    return PredictionInput(columns, list(rows))


def test_a_minute_is_sent_once_after_it_also_if_the_agent_was_killed_within(
    store: Database, clock: SetClock
) -> None:
    first = Recorder(store, clock, capture_rate=0)
    first.succeeded(RELEASE, _rows([1], [2]), [1, 2], 0.0001)
    first.flush()
    clock.at += MINUTE // 2
    second = Recorder(store, clock, capture_rate=0)
    second.succeeded(RELEASE, _rows([1]), [1], 1.0)
    second.failed(RELEASE, "model")
    second.failed(replace(RELEASE, number=8), "bad_input")
    second.flush()
    assert _messages(store, "metrics") == []
    clock.at += MINUTE
    second.flush()
    second.flush()
    found = _messages(store, "metrics")
    assert found == [
        {
            "release": 7, "minute": 1000, "model": "wear", "version": 3, "requests": 3, "rows": 3,
            "errors": {"model": 1}, "latencies": [[0, 1], [bucket(1000), 1]],
        },
        {
            "release": 8, "minute": 1000, "model": "wear", "version": 3, "requests": 1, "rows": 0,
            "errors": {"bad_input": 1}, "latencies": [],
        },
    ]  # fmt: skip


def test_a_clock_that_is_set_back_loses_no_minute(store: Database, clock: SetClock) -> None:
    recorder = Recorder(store, clock, capture_rate=0)
    for jump in (0, -5_000 * MINUTE, 10_000 * MINUTE):
        clock.at += jump
        recorder.failed(RELEASE, "model")
        recorder.flush()
    clock.at += MINUTE
    recorder.flush()
    assert sorted(one["minute"] for one in _messages(store, "metrics")) == [-4000, 1000, 6000]


@given(st.floats(0, 1e9))
def test_a_latency_is_in_the_first_bucket_whose_end_it_does_not_exceed(milliseconds: float) -> None:
    found = bucket(milliseconds)
    assert 0 <= found <= LAST_BUCKET
    if found < LAST_BUCKET:
        assert milliseconds <= 0.1 * 1.2**found * (1 + 1e-6)
    if found:
        assert milliseconds > 0.1 * 1.2 ** (found - 1) * (1 - 1e-6)


def test_captures_are_bounded_and_readable_by_every_parser(
    store: Database, clock: SetClock
) -> None:
    recorder = Recorder(store, clock, capture_rate=1)
    recorder.succeeded(
        RELEASE, _rows([2**60], ["\ud800"], [float("nan")], [None]), [1.5, "x", None, 2], 0.002
    )
    long = [[str(number) + "x" * 1000] for number in range(100)]
    recorder.succeeded(RELEASE, _rows(*long), list(range(100)), 0.002)
    recorder.succeeded(RELEASE, _rows(1, 2, columns=None), [1, 2], 0.002)
    recorder.flush()
    (message,) = _messages(store, "captures")
    odd, cut, tensor = message["captures"]
    assert odd["rows"] == [[float(2**60)], ["?"], [None], [None]]
    assert odd["predictions"] == [1.5, "x", None, 2]
    assert (odd["release"], odd["model"], odd["version"], odd["columns"]) == (7, "wear", 3, ["a"])
    assert odd["latency_ms"] == 2.0
    assert len(cut["rows"]) == len(cut["predictions"]) == 32
    assert cut["rows"] == long[:32]
    assert (tensor["columns"], tensor["rows"]) == (None, [[1], [2]])
    assert len({one["id"] for one in message["captures"]}) == 3


def test_messages_of_captures_fit_in_a_frame(store: Database, clock: SetClock) -> None:
    recorder = Recorder(store, clock, capture_rate=1)
    for _ in range(500):
        recorder.succeeded(RELEASE, _rows(*[["x" * 1000]] * 20), [0] * 20, 0.001)
    recorder.flush()
    messages = _messages(store, "captures")
    assert 40 < sum(len(one["captures"]) for one in messages) < 60, "memory is bounded"
    assert max(len(json.dumps(one)) for one in messages) < 300_000


@pytest.mark.parametrize(("rate", "least", "most"), [(0.0, 0, 0), (0.5, 20, 80), (1.0, 100, 100)])
def test_the_rate_says_how_many(
    store: Database, clock: SetClock, rate: float, least: int, most: int
) -> None:
    recorder = Recorder(store, clock, capture_rate=rate)
    for _ in range(100):
        recorder.succeeded(RELEASE, _rows([1]), [1], 0.001)
    recorder.flush()
    assert least <= sum(len(one["captures"]) for one in _messages(store, "captures")) <= most


def test_what_could_not_be_stored_is_stored_later(store: Database, clock: SetClock) -> None:
    recorder = Recorder(store, clock, capture_rate=1)
    recorder.succeeded(RELEASE, _rows([1]), [1], 0.001)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store._connection.execute("PRAGMA busy_timeout = 1")
    with pytest.raises(AgentError, match="locked"):
        recorder.flush()
    other.execute("ROLLBACK")
    other.close()
    recorder.flush()
    assert len(_messages(store, "captures")) == 1
    clock.at += MINUTE
    recorder.flush()
    assert _messages(store, "metrics")[0]["requests"] == 1


def _logger(lines: LogLines) -> logging.Logger:
    found = logging.Logger("x.model")
    found.addHandler(lines)
    return found


def test_lines_are_safe_to_look_at(store: Database, clock: SetClock) -> None:
    lines = LogLines(clock)
    _logger(lines).warning("%s", "\x1b[31mred\r\nnext\u202e\x00" + "x" * 5000 + "\ud800")
    _logger(lines).debug("not for the controller")
    lines.flush_to(store)
    ((line,),) = (one["lines"] for one in _messages(store, "log"))
    assert (line["level"], line["at"]) == ("warning", clock.at)
    assert line["text"].startswith("model: \\x1b[31mred\\r\\nnext\\u202e\\x00xxx")
    assert line["text"].isprintable()
    assert len(line["text"]) < 1100


@given(st.text())
def test_any_text_becomes_one_printable_line(text: str) -> None:
    assert safe(text).isprintable()


def test_a_flood_is_counted_not_kept(store: Database, clock: SetClock) -> None:
    lines = LogLines(clock)
    for number in range(5000):
        _logger(lines).info("%d", number)
    lines.flush_to(store)
    lines.flush_to(store)
    messages = _messages(store, "log")
    assert max(len(one["lines"]) for one in messages) <= 100
    texts = [line["text"] for one in messages for line in one["lines"]]
    assert AT_ONCE <= len(texts) < AT_ONCE + 50
    assert texts[0] == "model: 0"
    assert texts[-1].startswith("4,")
    assert "lines were left out" in texts[-1]


def test_pauses_double_to_a_minute_and_begin_again() -> None:
    backoff = Backoff()
    for whole in (1, 2, 4, 8, 16, 32, 60, 60):
        assert whole / 2 <= backoff.pause() <= whole
    for _ in range(100):
        assert backoff.pause() <= 60
    backoff.reset()
    assert backoff.pause() <= 1


def test_the_clock_of_the_controller_is_believed() -> None:
    clock = Clock()
    own = clock.now()
    clock.set(own + 10_000_000)
    assert 10_000_000 <= clock.now() - own < 10_060_000


def test_what_is_nested_deeply_is_kept_as_deep_as_a_message_may_be(
    store: Database, clock: SetClock
) -> None:
    recorder = Recorder(store, clock, capture_rate=1)
    value: Any = 1
    for _ in range(800):
        value = [value]
    recorder.succeeded(RELEASE, PredictionInput(("a",), [[value], [2]]), [1, 2], 0.001)
    recorder.flush()
    with store.transaction() as connection:
        (data,) = connection.execute("SELECT data FROM outbox WHERE kind = 'captures'").fetchone()
    levels = max(itertools.accumulate((one in "[{") - (one in "]}") for one in data))
    assert 40 < levels <= 60
    assert json.loads(data)["captures"][0]["rows"][1] == [2]
