"""What a killed service leaves, and what the next one makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.running_service import RunningService
from waiting import until_sync

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    running = RunningService(tmp_path_factory.mktemp("mortal"))
    try:
        running.start()
        running.register_test_flows()
        yield running
    finally:
        running.kill_all()


def test_next_service_takes_over_server_and_run_of_a_killed_one(
    mortal: RunningService, tmp_path: Path
) -> None:
    run = mortal.create("sleeper", until=str(tmp_path / "release"))
    mortal.wait_for(run, "RUNNING")
    before = mortal.pids_of_runs(), mortal.pids_of_servers()
    mortal.kill()
    mortal.start()
    assert (mortal.pids_of_runs(), mortal.pids_of_servers()) == before
    next_one = mortal.create("self_portrait", file=str(tmp_path / "portrait"))
    (tmp_path / "release").touch()
    mortal.wait_for(run, "COMPLETED")
    mortal.wait_for(next_one, "COMPLETED")


def test_run_of_a_dead_machine_is_crashed_and_the_service_ends_when_idle(
    mortal: RunningService, tmp_path: Path
) -> None:
    run = mortal.create("sleeper", until=str(tmp_path / "never"))
    mortal.wait_for(run, "RUNNING")
    mortal.kill_all()
    mortal.start("--idle-timeout", "4")
    assert "the machine or the service ended" in mortal.wait_for(run, "CRASHED")
    assert mortal.process.wait(timeout=60) == 0
    until_sync(lambda: not mortal.pids_of_servers() and not mortal.file.exists())
