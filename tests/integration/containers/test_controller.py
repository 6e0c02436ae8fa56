"""A whole controller whose models run in containers of a real engine: stubs in the place of models."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_deployment.runtime.container import spec
from tests.support.container_bench import stub_image
from tests.support.engine import TestEngine
from tests.support.harness import Controller, Controllers
from tests.support.waiting import until_sync

KEY = "stub-1"


@pytest.fixture
def controller(controllers: Controllers, engine: TestEngine) -> Iterator[Controller]:
    """A controller of that engine, with a proxy of its own."""
    with running(controllers, engine) as it:
        yield it


@contextlib.contextmanager
def running(controllers: Controllers, engine: TestEngine) -> Iterator[Controller]:
    stub_image(engine)
    made = controllers(
        PROXIES=1,
        CONTAINER_ENGINE=engine.url,
        IMAGE_BASE="stub-base",
        IMAGE_NETWORK="none",
        START_TIMEOUT=60,
        RECOVERY_TIMEOUT=30,
    )
    # The path of a Unix socket has to be short.
    made.data = Path(tempfile.mkdtemp(prefix="md-", dir="/tmp")) / "data"
    yield made.up()
    if made.running:
        for row in made.get("/get_deployed_models"):
            made.undeploy(row["name"])
        # Before it is looked at as one whose models are processes of this machine.
        assert made.terminate() == 0
    shutil.rmtree(made.data.parent)


def containers(controller: Controller, engine: TestEngine) -> list[str]:
    """Names of containers that run, of this controller's launches."""
    with engine.client() as client:
        label = f"{spec.INSTANCE}={controller.instance}"
        return sorted(str(one.name) for one in client.containers.list(filters={"label": label}))


def deploy(controller: Controller, **options: Any) -> Any:
    return controller.deploy(KEY, start_method="container", memory_limit=200_000_000, **options)


def test_model_is_deployed_in_a_container_predicts_and_is_undeployed(
    controller: Controller, engine: TestEngine
) -> None:
    row = deploy(controller)
    assert row["state"] == "ready", row
    assert (row["pid"], row["port"]) == (None, None)
    assert [row["container"]] == containers(controller, engine)
    answer = controller.predict(KEY, 3)
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == [3]
    shown = controller.row(KEY)
    assert 1_000_000 < shown["rss"] < 200_000_000, shown["rss"]
    assert [one["container"] for one in shown["launches"]] == [row["container"]]
    assert "stub: listening" in controller.call("GET", f"/model/{KEY}/logs").text
    assert controller.call("GET", "/metrics").status_code == 200
    assert controller.call("GET", f"/dashboard/deployments/{KEY}").status_code == 200
    controller.undeploy(KEY)
    until_sync(lambda: containers(controller, engine) == [], timeout=20)


def test_container_that_is_killed_is_replaced_by_the_next_launch(
    controller: Controller, engine: TestEngine
) -> None:
    before = deploy(controller)["container"]
    with engine.client() as client:
        client.containers.get(before).kill()
    assert controller.predict(KEY, timeout=60).status_code in (200, 502)
    until_sync(lambda: controller.predict(KEY).status_code == 200, timeout=40)
    after = controller.wait_for(KEY, "ready")["container"]
    assert after != before
    assert containers(controller, engine) == [after]


def test_next_controller_adopts_containers(controller: Controller, engine: TestEngine) -> None:
    before = deploy(controller, replicas=2)["launches"]
    until_sync(lambda: len(containers(controller, engine)) == 2, timeout=40)
    until_sync(lambda: controller.row(KEY)["replicas"]["ready"] == 2, timeout=40)
    names = containers(controller, engine)
    controller.kill()
    assert controller.predict(KEY).status_code == 200, "the proxy did not go on"
    controller.up()
    row = controller.wait_for(KEY, "ready")
    until_sync(lambda: controller.row(KEY)["replicas"]["ready"] == 2, timeout=20)
    assert containers(controller, engine) == names, before
    assert sorted(one["container"] for one in row["launches"]) == names
    assert controller.predict(KEY).status_code == 200


def test_start_method_is_changed_in_place_both_ways(
    controller: Controller, engine: TestEngine
) -> None:
    controller.deploy(KEY)
    controller.call("PATCH", f"/model/{KEY}", json={"start_method": "container"}, timeout=60)
    row = until_sync(lambda: _is(controller, contained=True), timeout=60)
    assert containers(controller, engine) == [row["container"]]
    assert controller.predict(KEY).status_code == 200
    controller.call("PATCH", f"/model/{KEY}", json={"start_method": "serve"}, timeout=60)
    until_sync(lambda: _is(controller, contained=False), timeout=60)
    assert controller.predict(KEY).status_code == 200
    until_sync(lambda: containers(controller, engine) == [], timeout=40)


def _is(controller: Controller, *, contained: bool) -> Any:
    row = controller.row(KEY)
    assert row["state"] == "ready"
    assert row["replacement"] is None
    assert (row["container"] is not None) == contained
    assert (row["port"] is None) == contained
    return row


@pytest.mark.parametrize("own_engine", [True], indirect=True)
def test_controller_starts_and_serves_while_the_engine_is_away(
    controllers: Controllers, own_engine: TestEngine
) -> None:
    with running(controllers, own_engine) as controller:
        before = deploy(controller)["container"]
        controller.deploy("stub-2")
        controller.kill()
        own_engine.kill()
        controller.up()
        assert controller.wait_for("stub-2", "ready")
        assert controller.predict("stub-2").status_code == 200
        assert controller.deploy("stub-3")["state"] == "ready"
        # It answers, and nothing says that it is gone.
        assert controller.predict(KEY).status_code == 200
        assert controller.row(KEY)["container"] == before
        own_engine.start()
        controller.wait_for(KEY, "ready")
        assert containers(controller, own_engine) == [before]
        controller.undeploy(KEY)
        until_sync(lambda: containers(controller, own_engine) == [], timeout=20)


def test_deploy_without_an_engine_is_refused_with_advice(controllers: Controllers) -> None:
    controller = controllers(CONTAINER_ENGINE="unix:///nonexistent/docker.sock").up()
    refused = deploy(controller, status=503)
    assert "does not answer" in refused["detail"]
    assert "MODEL_DEPLOYMENT_CONTAINER_ENGINE" in refused["detail"]
    # Others are deployed as before.
    assert controller.deploy("stub-2")["state"] == "ready"
