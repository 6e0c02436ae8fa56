"""Failed predictions: from the recorder to every document store, and back in groups."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from model_deployment.core.domain import State
from model_deployment.core.names import ModelKey
from model_deployment.core.routes import Route
from model_deployment.documents.base import Collection, Documents, Query
from model_deployment.documents.opening import OpenedStore
from model_deployment.metrics.model_errors import ModelErrors
from model_deployment.recording.drain import Drain, DrainConfig
from model_deployment.recording.model_errors import Failure
from model_deployment.recording.recorder import Recorder
from model_deployment.recording.spool import Spool
from model_deployment.recording.windows import TrafficWindows

pytest_plugins = ["tests.support.document_store_fixtures"]

ONE, OTHER = (Route(ModelKey("m", version), State.READY) for version in (1, 2))
TRACE = 'Traceback (most recent call last):\n  File "m.py", line 3, in predict\n    f()\nKeyError: "x"\n'


def failure(name: str, trace: str = TRACE) -> Failure:
    return Failure(name, 502, "l", "Model failed", "cannot get a prediction", trace)


async def test_failures_come_back_in_groups(
    tmp_path: Path, store: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", max_bytes=10**7)
    spool.open()
    recorder = Recorder(spool, TrafficWindows("i"))
    drain = Drain(DrainConfig(str(tmp_path / "spool"), "", 1e5, 100, "salt"), store)
    errors = ModelErrors(OpenedStore(store))
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    at = [begin]

    def now() -> float:
        return at[-1].timestamp()

    monkeypatch.setattr("time.time", now)
    for n in range(30):
        recorder.broke(ONE, failure(f"a{n}"))
    recorder.broke(OTHER, failure("other"))
    at.append(clock := begin + timedelta(seconds=30))
    recorder.broke(ONE, failure("b", trace=""))
    recorder.write_errors()
    spool.close()
    while await drain.step():
        pass
    assert await store.count(Query.of(Collection.ERRORS, ONE.key)) == 12
    newest, older = await errors.groups(ONE.key, begin, clock + timedelta(seconds=1), 50)
    assert (newest.line, newest.count) == ("Model failed: cannot get a prediction", 1)
    assert (newest.ours, older.ours) == (True, False)
    assert (older.line, older.count) == ('KeyError: "x"', 30)
    assert (older.first_at, older.last_at, older.traceback) == (begin, begin, TRACE)
    assert older.request_ids == tuple(f"a{n}" for n in range(29, 19, -1))
    # A range in which the kind has failed, and in which its traceback is not.
    assert await errors.groups(ONE.key, clock, clock + timedelta(seconds=1), 50) == [newest]
    found = await errors.groups(ONE.key, begin, begin + timedelta(seconds=1), 50)
    assert [one.traceback for one in found] == [TRACE]
    one = await errors.of_request(ONE.key, "a25")
    assert one is not None
    assert (one.exception, one.request_ids, one.traceback) == ("KeyError", ("a25",), TRACE)
    assert await errors.of_request(ONE.key, "other") is None
    latest = await errors.newest(timedelta(hours=1))
    assert {key: (one.exception, one.first_at) for key, one in latest.items()} == {
        ONE.key: ("Model failed", clock),
        OTHER.key: ("KeyError", begin),
    }
