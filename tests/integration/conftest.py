"""Controllers for the integration tests, and a look at the machine after every one of them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import shared_registry
from tests.support.controller_forks import ControllerForks
from tests.support.harness import Controller, Controllers
from tests.support.shared_controller import Shared, end, use


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
        problems = [problem for controller in made for problem in end(controller)]
    assert not problems, "\n".join(problems)


@pytest.fixture
def guarded(controllers: Controllers) -> Controller:
    """A controller with users, that runs."""
    return controllers().with_users().up()


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
    with use(shared) as it:
        yield it


@pytest.fixture
def controller_with_proxies(shared_with_proxies: Shared) -> Iterator[Controller]:
    """The same behind two proxies that are processes of their own."""
    with use(shared_with_proxies) as it:
        yield it
