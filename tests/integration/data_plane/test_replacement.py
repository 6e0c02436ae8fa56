"""Proxies of another release or with other settings are replaced under load, and nobody notices."""

import shutil
from functools import partial
from pathlib import Path

from tests.support.data_plane import proxies
from tests.support.harness import ROOT, Controller, Controllers
from tests.support.marked_callers import MarkedCallers
from tests.support.waiting import until_sync


def other_release(folder: Path) -> Path:
    """The same code under another version, in a folder to import it from."""
    shutil.copytree(ROOT / "model_deployment", folder / "model_deployment")
    for name in ("schema.sql", "type_mapping.json"):
        shutil.copy(ROOT / name, folder)
    init = folder / "model_deployment" / "__init__.py"
    init.write_text(init.read_text() + '\n__version__ = "99.0"\n')
    return folder


def test_another_release_takes_over_under_load(controllers: Controllers, tmp_path: Path) -> None:
    controller = controllers(PROXIES=2, KEEP_MODELS="true").up()
    controller.deploy("stub-1")
    before = pids(controller)
    controller.forks = None
    controller.variables["PYTHONPATH"] = f"{other_release(tmp_path / 'next')}:{ROOT}"
    with MarkedCallers(controller.port, "stub-1") as callers:
        assert controller.terminate() == 0
        callers.more(100)
        controller.up(KEEP_MODELS="false")
        until_sync(partial(replaced, controller, before, 2), timeout=60, what="the next release")
        callers.more(100)
    assert controller.get("/version")["model_deployment"] == "99.0"
    assert callers.failed() == []
    assert callers.wrong == []


def pids(controller: Controller) -> set[int]:
    return {process.pid for process in proxies(controller)}


def replaced(controller: Controller, gone: set[int], wanted: int) -> bool:
    now = pids(controller)
    return not gone & now and len(now) == wanted


def test_other_settings_and_another_number_of_proxies(controllers: Controllers) -> None:
    controller = controllers(PROXIES=1, KEEP_MODELS="true").up()
    controller.deploy("stub-1")
    with MarkedCallers(controller.port, "stub-1") as callers:
        last = {"PROXIES": 1, "KEEP_MODELS": "false"}
        for settings in ({"MAX_QUEUE": 999}, {"PROXIES": 3}, last):
            before = pids(controller)
            controller.terminate()
            callers.more(50)
            controller.up(**settings)
            wanted = controller.settings["PROXIES"]
            gone = before if "MAX_QUEUE" in settings else set()
            until_sync(partial(replaced, controller, gone, wanted), timeout=30)
            callers.more(50)
    assert callers.failed() == []
    assert callers.wrong == []


def test_predictions_go_on_while_a_controller_that_keeps_models_is_stopped(
    controllers: Controllers,
) -> None:
    controller = controllers(PROXIES=2, KEEP_MODELS="true").up()
    controller.deploy("stub-1")
    with MarkedCallers(controller.port, "stub-1") as callers:
        for keep in ("true", "false"):
            assert controller.terminate() == 0
            callers.more(100)
            controller.up(KEEP_MODELS=keep)
            callers.more(100)
    assert callers.failed() == []


def test_a_controller_that_is_told_to_end_while_it_starts_ends_everything(
    controllers: Controllers,
) -> None:
    controller = controllers(PROXIES=1).up()
    controller.deploy("stub-1")
    controller.kill()
    controller.start()
    until_sync(lambda: "adopted proxy" in controller.logged(), what="the adoption")
    assert controller.terminate() == 0
    assert controller.leftovers() == []
