"""A controller that tests share, and what is looked at when a test is done with one."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import audit, children
from tests.support.controller_forks import ControllerForks
from tests.support.harness import TROUBLE, Controller
from tests.support.waiting import until_sync


class Shared:
    """One controller for all tests of a worker that leave it as they found it."""

    def __init__(
        self,
        folder: Path,
        registry: str,
        forks: ControllerForks,
        *,
        users: bool = False,
        **settings: Any,
    ) -> None:
        self._folder = folder
        self._users = users
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
            if self._users:
                self._controller.with_users()
            self._controller.up()
        return self._controller

    def end(self) -> list[str]:
        """Stop it; what is wrong with it."""
        controller, self._controller = self._controller, None
        return end(controller) if controller else []


@contextlib.contextmanager
def use(shared: Shared) -> Iterator[Controller]:
    """One test's turn with a shared controller."""
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


def end(controller: Controller) -> list[str]:
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
        children.collect_late()
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
