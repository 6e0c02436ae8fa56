"""Launches of stubs in environments that real uv has built, from an index of tiny wheels."""

import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny_wheels
from tests.support.harness import Controllers
from tests.support.waiting import until_sync


class Bench:
    """A controller that builds environments, and what is around it."""

    def __init__(self, controllers: Controllers, folder: Path, **settings: Any) -> None:
        self.index = tiny_wheels.filled_index(folder / "index")
        self.cache = folder / "cache"
        quick = {"START_METHOD": "auto", "ENV_MANAGER": "uv", "TRIES": 3}
        self.controller = controllers(ports=12, **{**quick, **settings})
        self.controller.variables |= tiny_wheels.offline(self.index, self.cache)
        self.controller.variables["ENVIRONMENTS"] = "1"

    def take_index_away(self) -> None:
        shutil.rmtree(self.index)
        shutil.rmtree(self.cache)

    @property
    def built(self) -> list[str]:
        """The digests of the environments that are there."""
        root = self.controller.data / "environments"
        return sorted(path.parent.name for path in root.glob("*/environment.json"))

    def builds(self, digest: str) -> int:
        """How often an environment was built, as far as its log goes back."""
        log = self.controller.data / "environments" / "logs" / f"{digest}.log"
        return log.read_text().count(" venv ")

    def parents(self) -> list[dict[str, Any]]:
        """The warm parents of environments."""
        found = self.controller.get("/environments")["parents"]
        return [one for one in found if one["environment"]]

    def parent(self) -> dict[str, Any]:
        """The only one, which is there."""

        def ready() -> dict[str, Any]:
            found = self.parents()
            assert [one["environment"] for one in found if one["pid"]]
            assert len(found) == 1
            return found[0]

        return until_sync(ready, timeout=40, what="the warm parent")

    def variable(self, key: str, name: str) -> str | None:
        """A variable of the process that serves a deployment."""
        content = Path(f"/proc/{self.controller.row(key)['pid']}/environ").read_bytes()
        found = dict(one.partition(b"=")[::2] for one in content.split(b"\0"))
        value = found.get(name.encode())
        return None if value is None else value.decode()

    def next_launch(self, key: str, pid: int) -> None:
        """Wait until a deployment is ready again, and another process serves it."""

        def ready() -> bool:
            row = self.controller.row(key)
            return row["state"] == "ready" and row["pid"] not in (None, pid)

        until_sync(ready, timeout=60, what=f"the next launch of {key}")

    def told(self, key: str) -> str:
        return "\n".join(one["reason"] for one in self.controller.events(key))


@pytest.fixture
def bench(controllers: Controllers, tmp_path: Path) -> Bench:
    found = Bench(controllers, tmp_path)
    found.controller.up()
    return found


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_eight_deploys_of_the_same_needs_are_one_build_and_one_parent(bench: Bench) -> None:
    it = bench.controller
    with ThreadPoolExecutor(8) as pool:
        rows = [*pool.map(lambda n: it.deploy(f"learner-{n}", wait=90), range(1, 9))]
    assert {row["state"] for row in rows} == {"ready"}
    (digest,) = bench.built
    assert {row["environment"]["digest"] for row in rows} == {digest}
    assert {row["environment"]["state"] for row in rows} == {"ready"}
    assert bench.builds(digest) == 1
    parent = bench.parent()
    assert (parent["environment"], parent["models"]) == (digest, 8)
    told = [bench.told(row["name"]) for row in rows]
    assert sum("was built in" in text for text in told) == 1
    assert sum("was there already, and is shared" in text for text in told) == 7
    # The ninth waits for nothing.
    began = time.monotonic()
    it.deploy("learner-9")
    assert "waiting for its environment: resolving" not in bench.told("learner-9")
    assert time.monotonic() - began < 5  # alone it is 0.3 s
    assert bench.parent()["models"] == 9
    # What a fork finds in its environment.
    folder = str(it.data / "environments" / digest)
    assert bench.variable("learner-1", "MODEL_DEPLOYMENT_ENVIRONMENT") == digest
    assert str(bench.variable("learner-1", "PATH")).startswith(f"{folder}/bin:")
    assert bench.variable("learner-1", "PYTHONPATH") is None
    page = it.call("GET", "/metrics").text
    assert f'model_deployment_warm_parent_models{{environment="{digest}"}} 9.0' in page
    assert f'model_deployment_environment_size_bytes{{environment="{digest}"}}' in page
    # With the last one it ends; it was told so, and lingers for nobody.
    for number in range(1, 10):
        it.undeploy(f"learner-{number}")
    until_sync(lambda: not bench.parents() and _is_gone(parent["pid"]), timeout=30, what="its end")


def test_restarts_need_no_index_no_build_and_no_controller(bench: Bench) -> None:
    it = bench.controller
    it.deploy("learner-1", wait=90)
    it.deploy("counter-1", wait=90, start_method="serve")
    environments = bench.built
    before = {key: it.row(key)["pid"] for key in ("learner-1", "counter-1")}
    bench.take_index_away()
    parent = bench.parent()["pid"]
    it.kill()
    it.up()
    # They have gone on, and the parent is found again with its port.
    assert {key: it.row(key)["pid"] for key in before} == before
    until_sync(lambda: bench.parent()["pid"] == parent, what="the parent of before")
    for key, pid in before.items():
        os.kill(pid, signal.SIGKILL)
        bench.next_launch(key, pid)
        assert it.predict(key, 7).json()["predictions"] == [7]
    it.kill()
    for key in before:
        os.kill(next(p.pid for p in it.processes(key)), signal.SIGKILL)
    os.kill(parent, signal.SIGKILL)
    it.up()
    for key in before:
        it.wait_for(key, "ready", timeout=40)
        assert it.predict(key, 8).json()["predictions"] == [8]
    assert bench.built == environments
    assert all("building" not in bench.told(key).split("adopted")[-1] for key in before)


def test_one_launch_after_the_other_in_an_environment(bench: Bench) -> None:
    """One controller and one build for all that may come to a deployment."""
    bench.controller.deploy("learner-1", wait=90)
    goes_on_when_its_parent_is_killed(bench)
    has_its_environment_built_again_when_that_was_deleted_by_hand(bench)
    moves_to_another_environment_on_its_port(bench)


def goes_on_when_its_parent_is_killed(bench: Bench) -> None:
    it = bench.controller
    row = it.row("learner-1")
    parent = bench.parent()
    os.kill(parent["pid"], signal.SIGKILL)

    def replaced() -> bool:
        return bench.parent()["pid"] not in (0, parent["pid"])

    until_sync(replaced, timeout=30, what="the next parent")
    assert it.row("learner-1")["pid"] == row["pid"]
    os.kill(row["pid"], signal.SIGKILL)
    bench.next_launch("learner-1", row["pid"])
    # The next parent held the port meanwhile.
    assert it.predict("learner-1", 5).json()["predictions"] == [5]
    assert it.row("learner-1")["port"] == row["port"]


def has_its_environment_built_again_when_that_was_deleted_by_hand(bench: Bench) -> None:
    it = bench.controller
    row = it.row("learner-1")
    (digest,) = bench.built
    shutil.rmtree(it.data / "environments" / digest)
    assert it.predict("learner-1", 3).json()["predictions"] == [3]
    os.kill(row["pid"], signal.SIGKILL)
    bench.next_launch("learner-1", row["pid"])
    assert it.predict("learner-1", 4).json()["predictions"] == [4]
    assert "was rebuilt, since it was gone" in bench.told("learner-1")
    assert bench.built == [digest]
    assert bench.parent()["models"] == 1


def moves_to_another_environment_on_its_port(bench: Bench) -> None:
    it = bench.controller
    row = it.row("learner-1")
    for options in ({"env_manager": "local"}, {"env_manager": "uv"}, {"start_method": "serve"}):
        changed = it.post(
            "/deploy/learner/1", 200, options, replace="true", strategy="recreate", wait=60
        )
        assert changed["state"] == "ready"
        assert it.predict("learner-1", 2).json()["predictions"] == [2]
    assert it.row("learner-1")["pid"] != row["pid"]


def test_conflicting_requirements_fail_at_once_and_leave_what_runs_alone(bench: Bench) -> None:
    it = bench.controller
    refused = it.deploy("conflict-1", status=502, wait=90)
    assert "cannot build" in refused["reason"]
    assert "numbers-of-us" in refused["reason"]
    assert "another start would fail the same way" in refused["reason"]
    assert "Traceback" not in refused["reason"]
    assert any("numbers-of-us" in line for line in refused["log"])
    row = it.row("conflict-1")
    assert (row["state"], row["environment"]["state"]) == ("failed", "failed")
    log = it.call("GET", "/model/conflict-1/logs")
    assert log.headers["x-launch-id"] == "build"
    assert "numbers-of-us" in log.text
    it.terminate()
    it.up()
    assert it.row("conflict-1")["environment"] == row["environment"]
    # The same as a change of what serves.
    it.undeploy("conflict-1")
    serving = it.deploy("conflict-1", env_manager="local")
    failed = it.post("/deploy/conflict/1", 502, {"env_manager": "uv"}, replace="true", wait=90)
    assert "numbers-of-us" in failed["detail"]
    after = it.row("conflict-1")
    assert (after["state"], after["pid"]) == ("ready", serving["pid"])
    assert after["options"]["env_manager"] == "local"


def test_failures_that_may_pass_are_tried_again(bench: Bench) -> None:
    it = bench.controller
    wheel = next(bench.index.glob("learner-*"))
    hidden = wheel.rename(bench.index.parent / wheel.name)
    it.post("/deploy/learner/1", 202, {}, wait=0.2)
    with suppress(AssertionError):
        it.wait_for("learner-1", "failed", timeout=3)
    hidden.rename(wheel)
    it.deploy("learner-1", wait=90)
    it.wait_for("learner-1", "ready", timeout=30)


@pytest.mark.parametrize("when", ["while it is built", "before it is started"])
def test_controller_killed_on_the_way_goes_on_with_the_next_one(
    controllers: Controllers, tmp_path: Path, when: str
) -> None:
    bench = Bench(controllers, tmp_path)
    it = bench.controller
    it.up()
    it.post("/deploy/learner/1", 202, {}, wait=0)
    if when == "while it is built":
        until_sync(
            lambda: [*(it.data / "environments" / "drafts").glob("*")], what="the build to begin"
        )
    else:
        until_sync(lambda: bench.built, timeout=60, what="the environment")
    it.kill()
    it.up()
    it.wait_for("learner-1", "ready", timeout=60)
    assert it.predict("learner-1", 6).json()["predictions"] == [6]
    assert len(bench.built) == 1
    # Nothing of the build that was cut off is left.
    until_sync(
        lambda: not [*(it.data / "environments" / "drafts").glob("*")],
        timeout=45,
        what="the end of drafts",
    )


def test_what_nobody_needs_is_removed(controllers: Controllers, tmp_path: Path) -> None:
    bench = Bench(controllers, tmp_path, ENVIRONMENT_GRACE=0)
    it = bench.controller
    it.up()
    it.deploy("learner-1", wait=90)
    it.deploy("counter-1", wait=90)
    assert len(bench.built) == 2
    kept = it.row("counter-1")["environment"]["digest"]
    it.undeploy("learner-1")
    until_sync(lambda: bench.built == [kept], timeout=75, what="the removal")
    assert it.predict("counter-1", 1).json()["predictions"] == [1]
    assert it.deploy("learner-1", wait=90)["state"] == "ready"
