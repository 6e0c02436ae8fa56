"""Rollouts with real controllers, proxies and registries: whatever happens, callers are answered."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.controller_forks import ControllerForks
from tests.support.rollout_lab import (
    ENDPOINT,
    GUARDED,
    MODEL,
    NAME,
    SHORT,
    STRAIGHT,
    RolloutLab,
    RolloutRegistry,
)
from tests.support.shared_controller import Shared
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

CALLERS = 16
ENDS_AT_THE_TENTH, FAILS_EVERY_FIFTH, HANGS_UP_EVERY_FIFTH, DOES_NOT_START = 4, 5, 6, 7
FAULTS: dict[int, dict[str, Any]] = {
    1: {}, 2: {}, 3: {},
    ENDS_AT_THE_TENTH: {"die_on_request": "exit", "every": 10},
    FAILS_EVERY_FIFTH: {"status": 500, "body": "{}", "every": 5},
    HANGS_UP_EVERY_FIFTH: {"cut_body": True, "every": 5},
    DOES_NOT_START: {"exit_at_start": 7},
}  # fmt: skip


@pytest.fixture(scope="module")
def registry(stub_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> RolloutRegistry:
    folder = tmp_path_factory.mktemp("rolling")
    return RolloutRegistry(folder, stub_registry / "mlflow.db", FAULTS)


@pytest.fixture(scope="module")
def shared_lab(
    registry: RolloutRegistry,
    tmp_path_factory: pytest.TempPathFactory,
    controller_forks: ControllerForks,
) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("rollouts")
    it = Shared(folder, registry.uri, controller_forks, PROXIES=2, ALIAS_POLL=0.5)
    yield it
    problems = it.end()
    assert not problems, "\n".join(problems)


@pytest.fixture
def lab(shared_lab: Shared, registry: RolloutRegistry) -> Iterator[RolloutLab]:
    """Version 1 serves."""
    it = RolloutLab(shared_lab.get(), registry)
    registry.move(1)
    it.put(STRAIGHT)
    it.serves(1)
    yield it
    it.controller.call("DELETE", f"{ENDPOINT}?wait=30")


def test_no_request_fails_in_rollouts_and_rollbacks(lab: RolloutLab) -> None:
    with lab.callers(CALLERS) as callers:
        for policy, versions in ((STRAIGHT, (2,)), (SHORT, (3, 2))):
            lab.put(policy)
            for version in versions:
                lab.serve(version)
                callers.more(CALLERS)
            lab.order("rollback")
            lab.serves(1 if policy is STRAIGHT else 3)
            callers.more(CALLERS)
    assert (callers.failed(), callers.wrong) == ([], [])
    assert {*callers.versions} == {"1", "2", "3"}


@pytest.mark.parametrize("version", [ENDS_AT_THE_TENTH, FAILS_EVERY_FIFTH, HANGS_UP_EVERY_FIFTH])
def test_a_faulty_candidate_is_rolled_back_and_the_champion_untouched(
    lab: RolloutLab, version: int
) -> None:
    lab.put(GUARDED)
    pids = {process.pid for process in lab.controller.processes(f"{MODEL}-1")}
    with lab.callers(4) as callers:
        lab.registry.move(version)
        rollout = lab.rollout(version, "rolled_back")
        callers.more(8)  # requests end where they began
        before = len(callers.failed())
        callers.more(50)
        assert len(callers.failed()) == before
    assert f"version {version} " in rollout["reason"]
    assert {answer.status for answer in callers.failed()} <= {502}
    details = [answer.detail for answer in callers.failed()]
    assert [text for text in details if f"{MODEL}-{version}" not in text] == []
    assert callers.wrong == []
    assert {process.pid for process in lab.controller.processes(f"{MODEL}-1")} == pids


def test_an_alias_that_moves_and_goes_changes_nothing_that_serves(lab: RolloutLab) -> None:
    lab.put(GUARDED)
    with lab.callers(4) as callers:
        for version in (2, DOES_NOT_START, 3):
            lab.registry.move(version)
            until_sync(lambda at=version: lab.show()["rollout"]["candidate"] == at, what="the move")  # type: ignore[misc]
        lab.rollout(3, "canary")
        rollouts = lab.show()["rollouts"][:3]
        assert [(one["champion"], one["state"]) for one in rollouts] == [
            (1, "canary"), (1, "superseded"), (1, "superseded")
        ]  # fmt: skip
        lab.registry.delete_alias()
        until_sync(lambda: "no alias live" in lab.show()["status"], what="the notice")
        assert (lab.show()["champion"], lab.show()["rollout"]["state"]) == (1, "canary")
        callers.more(50)
        lab.registry.move(1)
        lab.rollout(3, "rolled_back")
        assert "no alias" not in lab.show()["status"]
    assert (callers.failed(), callers.wrong) == ([], [])


def test_a_rollout_survives_kills_of_everything(lab: RolloutLab) -> None:
    lab.put(SHORT)
    controller = lab.controller
    kills = ["controller", "candidate", "champion", "a proxy", "everything"]
    champion = 1
    with lab.callers(4) as callers:
        for number, what in enumerate(kills):
            candidate = 2 + number % 2
            lab.registry.move(candidate)
            until_sync(lambda at=candidate: lab.show()["rollout"]["candidate"] == at, what="it")  # type: ignore[misc]
            failed = len(callers.failed())
            kill(lab, what, candidate, champion)
            if what in ("candidate", "everything"):
                # How long it is down decides whether what it failed meanwhile speaks against it.
                until_sync(lambda: lab.at_rest, timeout=40, what="the rollout's end")
                if lab.show()["champion"] != candidate:
                    lab.order("resume")
            lab.serves(candidate)
            callers.more(20)
            if what in ("controller", "candidate"):
                # Nothing of either is in the way of a request, but for what the candidate has.
                assert {answer.status for answer in callers.failed()[failed:]} <= {502}
            champion = candidate
    assert callers.wrong == []
    assert controller.predict(NAME).headers["x-model-version"] == str(champion)


def kill(lab: RolloutLab, what: str, candidate: int, champion: int) -> None:
    """SIGKILL in the middle of a rollout; a controller is started again."""
    controller, pids = lab.controller, []
    if what in ("controller", "everything"):
        controller.kill()
    if what in ("candidate", "everything"):
        pids += controller.processes(f"{MODEL}-{candidate}")
    if what in ("champion", "everything"):
        pids += controller.processes(f"{MODEL}-{champion}")
    if what in ("a proxy", "everything"):
        proxies = controller.companions()
        pids += proxies if what == "everything" else proxies[:1]
    for process in pids:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    if not controller.running:
        controller.up()
