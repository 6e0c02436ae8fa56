"""Backups of a controller at work, and what comes back from them."""

import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.support.audit import marked_processes
from tests.support.beside import run_beside
from tests.support.capture_queries import callers, embedded, more
from tests.support.harness import Controller, Controllers
from tests.support.waiting import until_sync


def command(controller: Controller, *arguments: str, status: int = 0) -> str:
    """Run one command in the controller's surroundings; what it says."""
    ended, said = run_beside(controller, *arguments)
    assert ended == status, said
    assert "Traceback" not in said
    return said


def lose(controller: Controller) -> None:
    for pattern in ("state.db*", "documents.db*"):
        for path in controller.data.glob(pattern):
            path.unlink()


def story(controller: Controller, key: str) -> list[Any]:
    return [event["reason"] for event in controller.events(key)]


def test_backup_under_load_is_restored(controllers: Controllers, tmp_path: Path) -> None:
    controller = controllers().up()
    before = controller.deploy("stub-1")
    controller.post("/model/stub-1/set_new_metrics", 201, {"metrics": {"rmse": 61.2}})
    archive = tmp_path / "backup.tar.gz"
    with callers(controller, "stub-1") as calls, ThreadPoolExecutor(1) as pool:
        more(calls)
        answered = list(calls.answered)
        until_sync(lambda: {*answered} <= {*embedded(controller)}, what="captures to be stored")
        deploys = pool.submit(
            lambda: [
                (controller.deploy("other-1"), controller.undeploy("other-1")) for _ in range(2)
            ]
        )
        said = command(controller, "backup", str(archive))
        assert "saved state.db, instance-id, documents.db of" in said
        deploys.result()
    assert calls.failed == []
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["manifest.json", "instance-id", "state.db", "documents.db"]
    assert archive.stat().st_mode & 0o777 == 0o600
    history = story(controller, "stub-1")

    controller.kill()
    lose(controller)
    controller.start()
    assert controller.wait() == 1
    assert "cannot find the state database" in controller.logged()
    assert "restored" in command(controller, "restore", str(archive))
    controller.up()
    # The very process that served before serves on.
    assert controller.row("stub-1")["pid"] == before["pid"]
    assert story(controller, "stub-1")[: len(history)] == history
    # The captures that were in the store, and those of the spool again, none twice.
    names = embedded(controller)
    assert {*answered} <= {*names} <= {*calls.sent}
    assert len(names) == len({*names})
    assert controller.get("/model/stub-1/metrics")["current"] == {"rmse": 61.2}


def test_a_backup_restored_elsewhere_starts_its_models(
    controllers: Controllers, tmp_path: Path
) -> None:
    first, second = controllers().up(), controllers()
    before = first.deploy("stub-1")
    archive = str(tmp_path / "backup.tar.gz")
    command(first, "backup", archive)
    assert "--clone" in command(second, "restore", archive, status=1)
    command(second, "restore", archive, "--clone")
    second.up()
    after = second.wait_for("stub-1", "ready")
    assert after["pid"] != before["pid"]
    assert second.instance != first.instance
    # They leave each other alone.
    assert first.predict("stub-1").json()["pid"] == before["pid"]
    assert second.predict("stub-1").json()["pid"] == after["pid"]


def test_a_backup_of_a_controller_that_was_killed(controllers: Controllers, tmp_path: Path) -> None:
    controller = controllers().up()
    before = controller.deploy("stub-1")
    controller.kill()
    archive = str(tmp_path / "backup.tar.gz")
    command(controller, "backup", archive)
    assert "would be replaced" in command(controller, "restore", archive, status=1)
    controller.state_db.write_bytes(b"damaged")
    # It is writing to the document store that is moved aside.
    assert [one for one in marked_processes(controller.instance) if one.is_companion]
    said = command(controller, "restore", "--force", archive)
    assert ".replaced" in said
    assert not [one for one in marked_processes(controller.instance) if one.is_companion]
    (kept,) = controller.data.glob("state.db.*.replaced")
    assert kept.read_bytes() == b"damaged"
    controller.up()
    assert controller.row("stub-1")["pid"] == before["pid"]


def test_a_lost_document_store_is_refused(controllers: Controllers) -> None:
    controller = controllers(KEEP_MODELS="true").up()
    before = controller.deploy("stub-1")
    assert controller.terminate() == 0
    for path in controller.data.glob("documents.db*"):
        path.unlink()
    assert controller.start().wait() == 1
    assert "error: cannot find the document store" in controller.logged()
    (controller.data / "documents.db").write_bytes(b"damaged" * 1000)
    assert controller.start().wait() == 1
    assert "error: cannot use the document store" in controller.logged()
    assert "model-deployment restore --force FILE" in controller.logged()
    controller.arguments = ["--new-documents"]
    controller.up(KEEP_MODELS="false")
    assert controller.row("stub-1")["pid"] == before["pid"]
    assert [*controller.data.glob("documents.db.*.replaced")]
