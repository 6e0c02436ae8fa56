"""Updates of a real agent: the good way, and each way in which a release can be bad."""

import hashlib
import json
import os
import signal
import time
from typing import Any

from tests.support.edge_controller import EdgeController
from tests.support.edge_device import EdgeDevice
from tests.support.edge_models import Signer, endless, greedy, linear, one_row_only
from tests.support.waiting import until_sync


def test_releases_follow_each_other(edge: EdgeController, device: EdgeDevice) -> None:
    """Each is loaded, tried and served; what both have is loaded once; the one before last is removed."""
    edge.want(edge.signer.release(1))
    device.start("--watch", 0.2)
    device.until_running(1)
    assert device.predict([1.0, 2.0], [3.0, 4.0]) == [3.5, 7.5]
    for number in (2, 3):
        edge.want(edge.signer.release(number))
        device.until_running(number)
        assert device.predict([1.0, 2.0]) == [number + 2.5]
        current = (device.folder / "current").resolve()
        previous = (device.folder / "previous").resolve()
        assert [path.name.split("-")[0] for path in (current, previous)] == [
            str(number),
            str(number - 1),
        ]
        kept = {path.name for path in (device.folder / "releases").iterdir()}
        assert kept == {current.name, previous.name}
        edge.until_state(number, "running")
        assert edge.states(number) == ["downloading", "verifying", "trying", "running"]
    digests = [digest for digest, _ in edge.downloads]
    assert len(digests) == len(set(digests)) == 5, (
        "MLmodel and the example are the same in all three"
    )
    # What is on the disk is what was signed, once.
    blobs = {path.name: path for path in (device.folder / "blobs").iterdir()}
    assert all(
        hashlib.sha256(path.read_bytes()).hexdigest() == name for name, path in blobs.items()
    )
    assert len(blobs) == 4
    inode = (current / "model/MLmodel").stat().st_ino
    assert inode == (previous / "model/MLmodel").stat().st_ino


def _refused(edge: EdgeController, number: int) -> str:
    until_sync(lambda: edge.states(number) == ["refused"], what="a refusal")
    return edge.reason(number)


def test_what_may_not_run_is_refused_once_and_the_old_one_goes_on(
    edge: EdgeController, device: EdgeDevice
) -> None:
    signer = edge.signer
    edge.want(signer.release(5))
    device.start("--watch", 0.2)
    device.until_running(5)
    other = Signer()
    cases: dict[str, tuple[int, dict[str, str]]] = {
        "it is signed by key": (6, other.release(6)),
        "its signature does not fit": (7, {**other.release(7), "key": signer.id}),
        "release 5 was accepted before": (4, signer.release(4)),
        "it expired": (8, signer.release(8, change=lambda m: m.update(expires=m["created"] - 1))),
        "update the agent": (
            9,
            signer.release(9, change=lambda m: m.update(minimum_agent="0.9.0")),
        ),
        "it is of the project": (
            10,
            signer.release(10, change=lambda m: m.update(project="other")),
        ),
        "may not be used": (11, signer.release(11, change=_escape)),
        "cannot read the manifest": (12, signer.signed('{"number":12}')),
    }
    for reason, (number, offer) in cases.items():
        edge.want(offer)
        assert reason in _refused(edge, number)
    edge.reconnect()
    until_sync(lambda: device.status()["link"]["state"] == "connected")
    reports = [one for one in edge.messages("progress") if one["state"] == "refused"]
    assert len(reports) == len(cases), "what is told again is not refused again"
    assert device.predict() == [7.5]
    assert not list(device.folder.parent.rglob("escaped"))


def _escape(manifest: dict[str, Any]) -> None:
    manifest["files"][0]["path"] = "model/../../../escaped"


def test_expiry_is_judged_by_the_clock_of_the_controller(
    edge: EdgeController, device: EdgeDevice
) -> None:
    edge.ahead = 2 * 3_600_000
    edge.want(edge.signer.release(1))
    device.start()
    assert "it expired 3,6" in _refused(edge, 1)
    later = edge.now + 60_000
    edge.want(edge.signer.release(1, change=lambda m: m.update(expires=later)))
    until_sync(lambda: device.release() == 1, what="the renewed release")


#: What is bad of a release, and what the device says of it.
BAD = {
    "answer": "it answers its example otherwise than on the controller (3.5 instead of 4.0)",
    "not finite": "None instead of 3.5",
    "no model": "loading failed",
    "column": "the columns b are missing",
    "endless": "did not answer within 1 s",
    "greedy": "its example fails: the model ran out of memory",
    "broken": "its SHA-256 is not that of the manifest, 3 times",
    "long": "it has more than",
    "too large": "cannot load the release: it needs",
}


def test_a_release_that_cannot_run_fails_with_the_reason(
    edge: EdgeController, device: EdgeDevice
) -> None:
    """The model before goes on; the same number is not tried again, also renewed; a higher one is."""
    edge.want(edge.signer.release(1))
    device.start("--watch", 0.2, "--predict-seconds", 1, "--model-memory", 400)
    device.until_running(1)
    for number, (what, reason) in enumerate(BAD.items(), start=2):
        edge.want(_bad(edge, what, number))
        edge.until_state(number, "failed")
        assert reason in edge.reason(number)
        assert device.predict() == [3.5]
        edge.instead = lambda digest, content: content
        attempts = len(edge.downloads)
        edge.want(_bad(edge, what, number, renewed=True))
        assert device.stage() == (number, "failed")
        assert len(edge.downloads) == attempts
    edge.want(edge.signer.release(20))
    device.until_running(20)
    assert len(edge.downloads) == attempts + 1, "only the model of release 20"
    for number in range(2, len(BAD) + 2):
        assert edge.states(number)[-1] == "failed"
        assert edge.states(number).count("trying") <= 1


def _bad(edge: EdgeController, what: str, number: int, *, renewed: bool = False) -> dict[str, str]:
    """A release that is bad in one way."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["expires"] += renewed
        if what == "column":
            manifest["example"] = "model/short.json"
        if what == "too large":
            manifest["files"][0].update(size=2**50, sha256="0" * 64)

    model, predictions = {
        "answer": (linear((1.0, 1.0), 0.5), [4.0]),
        "not finite": (linear((float("nan"), 1.0), 0.5), [3.5]),
        "no model": (b"this is no ONNX", [3.5]),
        "endless": (endless(), [3.5]),
        "greedy": (greedy(600), [3.5]),
    }.get(what, (linear((float(number), 1.0), 0.5), [number + 2.5]))
    short = json.dumps({"columns": ["a"], "data": [[1.0]]}).encode()
    if what in {"broken", "long"} and not renewed:
        digest = hashlib.sha256(model).hexdigest()
        worse = {"broken": b"X" * len(model), "long": model + b"X"}[what]
        edge.instead = lambda asked, content: worse if asked == digest else content
    return edge.signer.release(
        number, model, predictions=predictions, files={"model/short.json": short}, change=change
    )


def test_a_model_that_fails_its_first_predictions_is_taken_back(
    edge: EdgeController, device: EdgeDevice
) -> None:
    edge.want(edge.signer.release(1))
    device.start("--watch", 0.2)
    device.until_running(1)
    device.stop()
    device.start("--watch", 60)
    edge.want(edge.signer.release(2, one_row_only(), predictions=[3.0]))
    until_sync(lambda: device.release() == 2, timeout=60)
    assert device.predict([1.0, 2.0]) == [3.0]
    for _ in range(4):
        assert device.predict([1.0, 2.0], [3.0, 4.0]) == 500
    assert device.predict([1.0, 2.0]) == [3.0]
    assert device.release() == 2, "a good answer ends the row of bad ones"
    assert device.ask("POST", "/invocations", {"inputs": {"a": [1]}})[0] == 400
    for _ in range(5):
        assert device.predict([1.0, 2.0], [3.0, 4.0]) == 500
    until_sync(lambda: device.release() == 1, timeout=60, what="the release before")
    assert device.predict([1.0, 2.0], [3.0, 4.0]) == [3.5, 7.5]
    edge.until_state(2, "failed")
    assert "5 predictions in a row failed" in edge.reason(2)
    assert not (device.folder / "previous").exists()
    assert len(list((device.folder / "releases").iterdir())) == 1
    # It is tried again only if somebody says so.
    edge.want(edge.signer.release(2, one_row_only(), predictions=[3.0]))
    assert "2" in device.command("retry", "--folder", device.folder)
    edge.want(edge.signer.release(2, one_row_only(), predictions=[3.0]))
    until_sync(lambda: device.release() == 2, timeout=60, what="the release again")


def test_a_model_that_crashes_at_once_is_taken_back_and_one_that_was_good_is_restarted(
    edge: EdgeController, device: EdgeDevice
) -> None:
    edge.want(edge.signer.release(1))
    device.start("--watch", 0.2)
    device.until_running(1)
    before = _kill_model(device)
    until_sync(lambda: _model(device) not in {None, before}, what="the model again")
    assert device.predict() == [3.5]
    device.stop()
    device.start("--watch", 60)
    edge.want(edge.signer.release(2))
    until_sync(lambda: device.release() == 2, timeout=60)
    _kill_model(device)
    until_sync(lambda: device.release() == 1, timeout=60, what="the release before")
    edge.until_state(2, "failed")
    assert "the model crashed: the process of the model was ended by signal 9" in edge.reason(2)
    assert device.predict() == [3.5]


def _model(device: EdgeDevice) -> int | None:
    """Process id of the model."""
    serving = device.status()["serving"]
    return serving and int(serving["pid"])


def _kill_model(device: EdgeDevice) -> int:
    pid = until_sync(lambda: _model(device))
    os.kill(pid, signal.SIGKILL)
    return pid


def test_predictions_go_on_while_a_release_replaces_another(
    edge: EdgeController, device: EdgeDevice
) -> None:
    edge.want(edge.signer.release(1))
    device.start("--watch", 0.2)
    device.until_running(1)
    edge.want(edge.signer.release(2))
    seen: list[Any] = []
    end = time.monotonic() + 20
    while [4.5] not in seen and time.monotonic() < end:
        seen.append(device.predict())
    assert seen[-1] == [4.5]
    assert {json.dumps(one) for one in seen} <= {"[3.5]", "[4.5]"}, "no request failed"


def test_one_model_at_a_time(edge: EdgeController, device: EdgeDevice) -> None:
    """With --one-model the old one comes back where the new one fails."""
    edge.want(edge.signer.release(1))
    device.start("--watch", 0.2, "--one-model")
    device.until_running(1)
    edge.want(edge.signer.release(2, b"this is no ONNX", predictions=[1.0]))
    edge.until_state(2, "failed")
    until_sync(lambda: device.release() == 1, timeout=60)
    edge.want(edge.signer.release(3))
    device.until_running(3)
    assert device.predict() == [5.5]


def test_a_line_that_is_cut_often_is_tried_again_soon(
    edge: EdgeController, device: EdgeDevice
) -> None:
    """Each attempt brings a part: pauses that double would take minutes."""
    device.start("--watch", 0.2)
    edge.want(edge.signer.release(1))
    device.until_running(1)
    edge.cuts = [200_000] * 9
    edge.want(edge.signer.release(2, files={"model/large.bin": bytes(range(250)) * 8_000}))
    device.until_running(2, timeout=25)
    assert edge.cuts == []
