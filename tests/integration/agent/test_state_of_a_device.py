"""What is left on a device: a broken store, another form of model, and how much memory it takes."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from model_deployment_agent.health import memory

from tests.support.edge_controller import EdgeController
from tests.support.edge_device import EdgeDevice
from tests.support.edge_models import MLMODEL
from tests.support.small_disk import fill, small_disk
from tests.support.waiting import until_sync

MIB = 1024 * 1024
#: A model without libraries, as MLflow loads it. It has started two programs, which hold what it prints to;
#: the second one has left its group.
STARTER = """
import subprocess
from pathlib import Path

class Model:
    def predict(self, frame):
        return (frame["a"] * 10 + frame["b"]).tolist()

def _load_pyfunc(path):
    started = [
        subprocess.Popen(["sleep", "300"]),
        subprocess.Popen(["sleep", "300"], start_new_session=True),
    ]
    Path({pids!r}).write_text(" ".join(str(one.pid) for one in started))
    return Model()
"""


def test_a_broken_store_is_set_aside_and_the_model_goes_on(
    edge: EdgeController, device: EdgeDevice
) -> None:
    edge.want(edge.signer.release(2))
    device.start("--watch", 0.2)
    device.until_running(2)
    edge.until_state(2, "running")
    device.stop()
    database = device.folder / "agent.sqlite3"
    for end in ("-wal", "-shm"):
        database.with_name(database.name + end).unlink(missing_ok=True)
    database.write_bytes(b"nothing that SQLite knows" * 1000)
    edge.stored.clear()
    device.start("--watch", 0.2)
    until_sync(lambda: device.release() == 2, timeout=60)
    assert device.predict() == [4.5]
    # The controller is told again, in a new stream.
    edge.until_state(2, "running")
    assert len(edge.received) == 2
    assert "it is kept as agent.sqlite3.broken-" in device.log()
    # A lower number is refused as before.
    edge.want(edge.signer.release(1))
    edge.until_state(1, "refused")
    edge.want(edge.signer.release(3))
    device.until_running(3)


def test_a_release_without_onnx_runs_where_mlflow_is_and_what_it_started_ends_with_it(
    edge: EdgeController, device: EdgeDevice, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    files = {
        "model/MLmodel": MLMODEL,
        "model/code/tens.py": STARTER.format(pids=str(pids)).encode(),
        "model/data/nothing": b"",
    }
    offer = edge.signer.release(
        1,
        b"not used",
        predictions=[12.0],
        files=files,
        change=lambda manifest: manifest.update(onnx={"why_not": "there is no converter"}),
    )
    edge.want(offer)
    device.start("--watch", 0.2, "--model-memory", 0)
    device.until_running(1, timeout=90)
    assert device.status()["serving"]["form"] == "mlflow"
    assert device.predict([3.0, 4.0], [5.0, 6.0]) == [34.0, 56.0]
    started, left = map(int, pids.read_text().split())
    try:
        os.kill(device.status()["serving"]["pid"], signal.SIGKILL)
        until_sync(lambda: device.predict() == [12.0], timeout=60, what="a new process")
        until_sync(lambda: not _lives(started), what="its end")
        edge.want(edge.signer.release(2))
        device.until_running(2)
    finally:
        for one in {left, int(pids.read_text().split()[1])}:
            os.kill(one, signal.SIGKILL)


def test_agent_and_model_fit_in_64_mib(edge: EdgeController, device: EdgeDevice) -> None:
    """Proportional set size, with a small ONNX model.

    A third of it are pages of onnxruntime's library, which the kernel can drop and read again.
    """
    device.start("--watch", 0.2)
    until_sync(lambda: len(edge.pings) == 1)
    assert memory(device.pid) < 24 * MIB
    edge.want(edge.signer.release(1))
    device.until_running(1)
    for number in range(200):
        device.predict([float(number), 1.0])
    model = int(device.status()["serving"]["pid"])
    found = {"agent": memory(device.pid), "model": memory(model)}
    assert sum(found.values()) < 68 * MIB, found
    private = sum(_anonymous(pid) for pid in (device.pid, model))
    assert private < 48 * MIB


def _anonymous(pid: int) -> int:
    """Bytes that no file can give back."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not say")


def _damage(device: EdgeDevice, number: int) -> None:
    """Another bit in the model of a release, as of an old memory card."""
    (folder,) = (device.folder / "releases").glob(f"{number}-*")
    path = folder / "onnx" / "model.onnx"
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def test_a_model_that_was_damaged_on_the_disk_is_loaded_again(
    edge: EdgeController, device: EdgeDevice
) -> None:
    edge.want(edge.signer.release(1))
    device.start("--watch", 0.2)
    device.until_running(1)
    device.stop()
    _damage(device, 1)
    edge.hold.set()
    device.start("--watch", 0.2)
    until_sync(lambda: len(edge.downloads) == 4, what="the damaged file alone")
    assert device.predict() == 503, "it never answers with a damaged model"
    edge.hold.clear()
    device.until_running(1)
    assert device.predict() == [3.5]


def test_meanwhile_the_release_before_it_serves(edge: EdgeController, device: EdgeDevice) -> None:
    for number in (1, 2):
        edge.want(edge.signer.release(number))
        if number == 1:
            device.start("--watch", 0.2)
        device.until_running(number)
    device.stop()
    _damage(device, 2)
    edge.hold.set()
    device.start("--watch", 0.2)
    until_sync(lambda: device.release() == 1, timeout=60, what="the release before it")
    assert device.predict() == [3.5]
    edge.hold.clear()
    device.until_running(2)
    assert device.predict() == [4.5]
    assert "2" not in device.status()["failed"]


def test_a_device_that_is_enrolled_elsewhere_begins_there(
    edge: EdgeController, device: EdgeDevice
) -> None:
    edge.want(edge.signer.release(7))
    edge.command(1, "dark", True)
    device.start("--watch", 0.2)
    device.until_running(7)
    until_sync(lambda: device.status()["values"] == {"dark": True})
    with EdgeController() as other:
        other.want(other.signer.release(1))
        other.command(1, "light", 3)
        device.controller = other
        device.enrol("--again")
        edge.token = "mdd_revoked"
        edge.drop(4401)
        # The agent that still runs cannot be both: it ends, and systemd starts it again.
        assert device.ended() == 0
        device.start("--watch", 0.2)
        device.until_running(1)
        until_sync(lambda: device.status()["values"] == {"light": 3})
        assert other.messages("answer") == [{"id": 1, "ok": True, "detail": "stored"}]
        assert not [one for one in other.messages("progress") if one["release"] == 7]
        assert not list((device.folder / "releases").glob("7-*"))
        device.stop()


def _lives(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def test_a_full_disk_stops_no_prediction_and_nothing_is_lost(
    edge: EdgeController, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "32m") as disk:
        device = EdgeDevice(disk, edge)
        device.enrol()
        edge.want(edge.signer.release(1))
        device.start("--watch", 0.2)
        try:
            device.until_running(1)
            fill(disk)
            edge.want(edge.signer.release(2))
            edge.command(1, "dark", True)
            until_sync(lambda: "disk is full" in device.status()["link"]["reason"], timeout=30)
            device.kill()
            device.start("--watch", 0.2)
            until_sync(lambda: device.predict() == [3.5], timeout=60)
            (disk / "filling").unlink()
            device.until_running(2, timeout=60)
            until_sync(lambda: [one["ok"] for one in edge.messages("answer")] == [True])
        finally:
            device.stop()


def test_a_disk_that_takes_no_changes_stops_no_prediction(
    edge: EdgeController, tmp_path: Path
) -> None:
    def mounted(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)

    with small_disk(tmp_path / "disk", "32m") as disk:
        device = EdgeDevice(disk, edge)
        device.enrol()
        edge.want(edge.signer.release(1))
        device.start("--watch", 0.2)
        device.until_running(1)
        device.stop()
        mounted("ro")
        try:
            device.start("--watch", 0.2)
            until_sync(lambda: device.predict() == [3.5], timeout=60)
            edge.want(edge.signer.release(2))
            edge.until_state(2, "failed")
            assert "Read-only file system" in edge.reason(2)
            device.stop()
        finally:
            device.stop()
            mounted("rw")
        device.start("--watch", 0.2)
        device.until_running(2)
        device.stop()


def test_a_folder_that_lost_something_is_made_whole(
    edge: EdgeController, device: EdgeDevice
) -> None:
    for number in (1, 2):
        edge.want(edge.signer.release(number))
        if number == 1:
            device.start("--watch", 0.2)
        device.until_running(number)
    current = device.folder / "current"

    def folder_instead_of_the_link() -> None:
        current.unlink()
        current.mkdir()
        (current / "something").write_text("copied by hand")

    def link_elsewhere() -> None:
        current.unlink()
        current.symlink_to("/etc")

    losses: list[Callable[[], object]] = [
        folder_instead_of_the_link,
        link_elsewhere,
        lambda: shutil.rmtree(current.resolve()),
        lambda: (current / "release.json").write_text("{"),
        lambda: shutil.rmtree(device.folder / "blobs"),
        lambda: shutil.rmtree(device.folder / "releases"),
    ]
    for loss in losses:
        device.stop()
        loss()
        device.start("--watch", 0.2)
        device.until_running(2)
        assert device.predict() == [4.5]
    # Where the controller is away as well, the release before serves.
    edge.want(edge.signer.release(3))
    device.until_running(3)
    device.stop()
    shutil.rmtree(current.resolve())
    # It would be made of them: they go a while after the switch.
    shutil.rmtree(device.folder / "blobs")
    edge.refuse_sockets = 503
    edge.hold.set()  # nor can it be loaded again
    device.start("--watch", 0.2)
    until_sync(lambda: device.predict() == [4.5], timeout=60)
    edge.hold.clear()
    device.until_running(3)
