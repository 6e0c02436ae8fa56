"""A data directory without room, or that is read only: said plainly, and the models serve on."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.harness import Controller, Controllers
from tests.support.tools import check_problem
from tests.support.waiting import until_sync


@pytest.fixture(scope="module")
def mount() -> Iterator[Callable[[Path], Path]]:
    """Mounts a small disk on a folder. For the module, so that it outlives the controllers on it."""
    mounted: list[Path] = []

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"only who may mount a disk can fill one: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def controller(controllers: Controllers, mount: Callable[[Path], Path]) -> Controller:
    """With a disk of its own."""
    it = controllers()
    mount(it.data)
    return it


def fill(controller: Controller) -> Path:
    """Leave no room at all; returns what takes it."""
    ballast = controller.data / "ballast"
    with (
        Path("/dev/zero").open("rb") as zeros,
        ballast.open("wb", buffering=0) as file,
        pytest.raises(OSError, match="No space left"),
    ):
        shutil.copyfileobj(zeros, file, 4096)
    return ballast


def refused(controller: Controller) -> str:
    """Start it in vain; what it says."""
    heard = len(controller.logged())
    assert controller.start().wait() == 1
    said = controller.logged()[heard:]
    assert "Traceback" not in said
    assert "--new-state" not in said
    return said


def test_on_a_full_disk_wishes_are_refused_and_models_serve_on(controller: Controller) -> None:
    controller.up()
    controller.deploy("stub-1")
    ballast = fill(controller)

    def full() -> bool:
        """Both are refused. What is written first may find room in files that are there already."""
        for wish in ("/undeploy/stub-1", "/deploy/other/1"):
            answer = controller.call("POST", f"{wish}?wait=0")
            if answer.status_code != 507:
                for back in ("/deploy/stub/1", "/undeploy/other-1"):
                    controller.call("POST", f"{back}?wait=0")
                return False
            assert "disk of the data directory is full" in check_problem(answer)["detail"]
        return True

    until_sync(full, what="the last room to be used")
    ballast.unlink()
    controller.deploy("stub-1")
    assert controller.predict("stub-1").json()["model"] == "stub-1"
    assert controller.deploy("other-1")["state"] == "ready"


def test_a_start_on_a_full_disk_says_so_and_leaves_the_models_alone(
    controller: Controller,
) -> None:
    controller.up()
    before = controller.deploy("stub-1")
    controller.kill()
    ballast = fill(controller)
    said = refused(controller)
    assert f"error: cannot open the state database {controller.state_db}: " in said
    assert "free space" in said
    ballast.unlink()
    controller.up()
    assert controller.row("stub-1")["pid"] == before["pid"]


def test_a_start_on_a_disk_that_is_read_only_says_so(controller: Controller) -> None:
    controller.up()
    before = controller.deploy("stub-1")
    controller.kill()
    folder = str(controller.data)
    # The model has its log open for writing, so the disk itself cannot be made read only.
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        said = refused(controller)
    finally:
        subprocess.run(["umount", folder], check=True)
    assert f"error: cannot use the data directory {controller.data}: Read-only" in said
    controller.up()
    assert controller.row("stub-1")["pid"] == before["pid"]
