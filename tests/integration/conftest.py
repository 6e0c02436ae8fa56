"""Controllers for the integration tests, and a look at the machine after every one of them."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import audit, shared_registry
from tests.support.controller_forks import ControllerForks
from tests.support.harness import TROUBLE, Controller, Controllers
from tests.support.waiting import until_sync


@pytest.fixture(scope="session")
def stub_registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a registry with the models of ``registry.py``. Read only: all tests share it."""
    base = tmp_path_factory.getbasetemp()
    # A worker's own folder lies in one that belongs to this run alone; the main process's does not.
    return shared_registry.filled(base.parent if hasattr(request.config, "workerinput") else base)


@pytest.fixture(scope="session")
def registry_uri(stub_registry: Path) -> Iterator[str]:
    """A tracking server of it: each controller that opened the file itself would take a second for that."""
    with shared_registry.served(stub_registry) as address:
        yield address


@pytest.fixture(scope="session")
def controller_forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControllerForks]:
    """Starts controllers in little time, wherever a test does not ask for a program of its own."""
    forks = ControllerForks(tmp_path_factory.mktemp("forks"))
    yield forks
    forks.close()


@pytest.fixture(autouse=True)
def controllers(
    request: pytest.FixtureRequest, tmp_path: Path, controller_forks: ControllerForks
) -> Iterator[Controllers]:
    """Makes controllers for one test, and does not start them.

    All of them end here, and are looked at: no test may leave a process or a listener behind.
    """
    made: list[Controller] = []

    def make(registry: str | None = None, **settings: Any) -> Controller:
        if registry is None:  # asked for here, since not every test needs one
            registry = request.getfixturevalue("registry_uri")
        settings.setdefault("forks", controller_forks)
        made.append(Controller(tmp_path / f"controller-{len(made)}", registry, **settings))
        return made[-1]

    with contextlib.ExitStack() as last_resort:
        yield make
        for controller in made:
            last_resort.callback(controller.destroy)
        problems = [problem for controller in made for problem in _end(controller)]
    assert not problems, "\n".join(problems)


@pytest.fixture
def guarded(controllers: Controllers) -> Controller:
    """A controller with users, that runs."""
    return controllers().with_users().up()


class Shared:
    """One controller for all tests of a worker that leave it as they found it."""

    def __init__(
        self, folder: Path, registry: str, forks: ControllerForks, **settings: Any
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._forks = forks
        self._registry = registry
        self._made = 0
        self._controller: Controller | None = None

    def get(self) -> Controller:
        if self._controller is None or not self._controller.running:
            self._made += 1
            folder = self._folder / str(self._made)
            self._controller = Controller(
                folder, self._registry, ports=16, forks=self._forks, **self._settings
            )
            self._controller.up()
        return self._controller

    def end(self) -> list[str]:
        """Stop it; what is wrong with it."""
        controller, self._controller = self._controller, None
        return _end(controller) if controller else []


@pytest.fixture(scope="session")
def shared(
    tmp_path_factory: pytest.TempPathFactory, registry_uri: str, controller_forks: ControllerForks
) -> Iterator[Shared]:
    it = Shared(tmp_path_factory.mktemp("shared"), registry_uri, controller_forks)
    yield it
    problems = it.end()
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="session")
def shared_with_proxies(
    tmp_path_factory: pytest.TempPathFactory, registry_uri: str, controller_forks: ControllerForks
) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("shared_with_proxies")
    it = Shared(folder, registry_uri, controller_forks, PROXIES=2)
    yield it
    problems = it.end()
    assert not problems, "\n".join(problems)


@pytest.fixture
def controller(shared: Shared) -> Iterator[Controller]:
    """A running controller with nothing deployed, shared with other tests."""
    yield from _use(shared)


@pytest.fixture
def controller_with_proxies(shared_with_proxies: Shared) -> Iterator[Controller]:
    """The same behind two proxies that are processes of their own."""
    yield from _use(shared_with_proxies)


def _use(shared: Shared) -> Iterator[Controller]:
    it = shared.get()
    seen = len(it.logged())
    yield it
    problems = [*_undeploy_all(it), *_heard(it, seen)]
    sys.stdout.write(f"log of the shared controller:\n{it.logged()[seen:]}\n")
    if problems:
        shared.end()
    assert not problems, "\n".join(problems)


def _undeploy_all(controller: Controller) -> list[str]:
    """Leave nothing deployed; what is wrong with that."""
    try:
        problems = _look(controller)
        for endpoint in controller.get("/endpoints"):
            controller.call("DELETE", f"/endpoints/{endpoint['name']}")
        for row in controller.get("/get_deployed_models"):
            controller.undeploy(row["name"])
        return [*problems, *controller.leftovers()]
    except AssertionError as error:
        return [str(error)]
    except OSError as error:
        return [f"the controller does not answer: {error}"]


def _end(controller: Controller) -> list[str]:
    """Stop a controller; what is wrong with it, and with what it leaves."""
    try:
        return [*_stop(controller), *_heard(controller)]
    finally:
        controller.destroy()
        sys.stdout.write(f"log of the controller on {controller.url}:\n{controller.logged()}\n")
        sys.stdout.write(f"log of its proxies:\n{controller.logged_by_proxies()}\n")


def _stop(controller: Controller) -> list[str]:
    problems = []
    if controller.running:
        problems += _look(controller)
        try:
            status = controller.terminate()
        except subprocess.TimeoutExpired:
            return [*problems, "the controller did not stop"]
        if status != 0:
            problems.append(f"the controller ended with status {status}")
    return [*problems, *(f"left behind: {left}" for left in controller.leftovers())]


def _look(controller: Controller) -> list[str]:
    def clean() -> bool:
        audit.collect_late()
        audit.assert_clean(
            controller.state_db,
            controller.instance,
            controller.ports,
            proxies=int(controller.settings["PROXIES"]),
        )
        return True

    try:
        until_sync(clean, timeout=10, what="a clean world")
    except AssertionError as error:
        return [str(error)]
    return []


def _heard(controller: Controller, since: int = 0) -> list[str]:
    log = controller.logged()[since:] + controller.logged_by_proxies()
    return [
        f"the controller's log has {sign!r}"
        for sign in TROUBLE
        if sign in log and not controller.trouble_expected
    ]
