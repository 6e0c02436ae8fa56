"""What is noted down of a request, and of which ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.domain import State
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.routes import Route
from model_deployment.recording.capture import decode
from model_deployment.recording.counters import RequestCounters
from model_deployment.recording.recorder import Recorder
from model_deployment.recording.spool import Spool, read, segments
from model_deployment.recording.windows import TrafficWindows

KEY = ModelKey("m", 1)


def predict(recorder: Recorder, *names: str, **options: Any) -> None:
    route = Route(KEY, State.READY, options=Options(**options), artifact="m-1-0")
    for name in names:
        recorder.predicted(
            route, name, "application/json", b'{"x": 1}', b"[2]", 1, 0.0125, launch_id="launch"
        )
    recorder.flush()


def captured(spool: Spool) -> list[tuple[dict[str, Any], bytes, bytes]]:
    return [
        decode(record.payload) for segment in segments(spool.root) for record in read(segment, 0)
    ]


def names(spool: Spool) -> list[str]:
    return [head["request_id"] for head, _, _ in captured(spool)]


def test_prediction_is_recorded_as_it_was_on_the_wire(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.5)
    predict(Recorder(spool, TrafficWindows("i")), "r1")
    ((head, body, answer),) = captured(spool)
    assert (body, answer) == (b'{"x": 1}', b"[2]")
    assert head == {
        "model": "m",
        "version": 1,
        "launch_id": "launch",
        "artifact": "m-1-0",
        "at": 1_700_000_000.5,
        "request_id": "r1",
        "latency_ms": 12.5,
        "media_type": "application/json",
    }


def test_a_share_of_the_requests_is_captured_and_always_the_same_ones(spool: Spool) -> None:
    every = [f"request-{number}" for number in range(4000)]
    traffic = TrafficWindows("i")
    recorder = Recorder(spool, traffic)
    predict(recorder, *every, capture_rate=0.25)
    chosen = names(spool)
    assert len(chosen) == pytest.approx(1000, rel=0.1)
    predict(recorder, *every, capture_rate=0.25)
    assert names(spool) == chosen * 2
    predict(recorder, *every, capture_rate=0.5)
    assert set(chosen) < set(names(spool))
    # All of them are counted.
    assert sum(window.requests for _, window in traffic.current(KEY)) == 12_000


def test_all_or_none_are_captured_at_the_ends(spool: Spool) -> None:
    every = [f"request-{number}" for number in range(100)]
    recorder = Recorder(spool, TrafficWindows("i"))
    predict(recorder, *every, capture_rate=0.0)
    assert names(spool) == []
    predict(recorder, *every, capture_rate=1.0)
    assert names(spool) == every


def test_record_head_names_the_hidden_columns(spool: Spool) -> None:
    recorder = Recorder(spool, TrafficWindows("i"))
    predict(recorder, "r", capture_exclude=("name", "é"), capture_hash=("id",))
    ((head, _, _),) = captured(spool)
    assert (head["exclude"], head["hash"]) == (["name", "é"], ["id"])


def test_spool_full_does_not_fail_the_request(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=1)
    traffic = TrafficWindows("i")
    predict(Recorder(spool, traffic), "r")
    assert spool.dropped == 1
    assert traffic.current(KEY)[0][1].requests == 1
    spool.close()


def test_other_ends_of_requests_are_counted_and_not_captured(spool: Spool) -> None:
    traffic = TrafficWindows("i")
    recorder = Recorder(spool, traffic)
    recorder.relayed(KEY, 0.01)
    recorder.failed(KEY, 503)
    recorder.violated(KEY, {("x", "type"): 1})
    recorder.violated(KEY, {("x", "type"): 1}, passed=True)
    assert captured(spool) == []
    found = [window for _, window in traffic.current(KEY)]
    assert sum(window.requests for window in found) == 2
    assert sum(window.errors["not_ready"] for window in found) == 1
    assert sum(window.violations["x", "type"] for window in found) == 2
    assert sum(window.let_through for window in found) == 1


def test_the_endpoint_that_a_request_came_by_is_recorded(spool: Spool) -> None:
    recorder = Recorder(spool, TrafficWindows("i"))
    route = Route(KEY, State.READY)
    recorder.predicted(route, "r", "application/json", b"{}", b"[2]", 1, 0.1, "m@champion")
    recorder.flush()
    ((head, _, _),) = captured(spool)
    assert head["endpoint"] == "m@champion"


def test_shadows_are_recorded_and_never_counted(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.5)
    traffic, counters = TrafficWindows("i"), RequestCounters()
    recorder = Recorder(spool, traffic, counters)
    options = Options(capture_rate=0.0, max_capture_bytes=6)
    route = Route(KEY, State.READY, options=options, artifact="m-1-0")
    recorder.shadowed(route, 7, "r1", b"[2, 3]", 200, 0.0125, "launch")
    recorder.shadowed(route, 7, "r2", b"[2, 3, 4]", 200, 0.0125)
    recorder.shadowed(route, 7, "r3", b"", 504, 60)
    (first, body, answer), (second, _, large), (third, _, _) = captured(spool)
    assert (body, answer, large) == (b"", b"[2, 3]", b"")
    assert first == {
        "model": "m",
        "version": 1,
        "launch_id": "launch",
        "artifact": "m-1-0",
        "at": 1_700_000_000.5,
        "request_id": "r1",
        "latency_ms": 12.5,
        "shadow": 7,
        "status": 200,
    }
    assert (second["omitted"], third["status"], third["latency_ms"]) == (9, 504, 60_000)
    assert traffic.current(KEY) == []
    assert counters.all() == {}
    recorder.shadowed(route, 7, "r4", None, 200, 0.1)  # type: ignore[arg-type]
    assert (spool.dropped, len(captured(spool))) == (1, 3)


def test_a_stream_is_joined_only_for_a_capture(spool: Spool) -> None:
    recorder = Recorder(spool, TrafficWindows("i"))

    def broken() -> bytes:
        raise TypeError

    def stream(made: Callable[[], bytes], unkept: int = 0, **options: Any) -> None:
        route = Route(KEY, State.READY, options=Options(**options), artifact="a")
        recorder.predicted(route, "r", "", b"{}", made, 1, 0.1, unkept=unkept)
        recorder.flush()

    stream(broken, capture_rate=0.0)
    stream(broken, unkept=2_000_000_000)
    assert [(head["omitted"], body, said) for head, body, said in captured(spool)] == [
        (2_000_000_002, b"", b"")
    ]
    # A capture that cannot be made does not cost the caller the end of the stream.
    stream(broken)
    assert spool.dropped == 1
    stream(lambda: b"[3]")
    assert [said for _, _, said in captured(spool)] == [b"", b"[3]"]
