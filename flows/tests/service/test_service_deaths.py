"""What a killed service leaves, and what the next one makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.running_service import RunningService
from waiting import until_sync

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_next_service_takes_over_server_and_run_of_a_killed_one_and_crashes_what_died(
    service: RunningService, tmp_path: Path
) -> None:
    run = service.create("sleeper", until=str(tmp_path / "release"))
    service.wait_for(run, "RUNNING")
    before = service.pids_of_runs(), service.pids_of_servers()
    service.kill()
    service.start()
    assert (service.pids_of_runs(), service.pids_of_servers()) == before
    next_one = service.create("sleeper", until=str(tmp_path / "never"))
    (tmp_path / "release").touch()
    service.wait_for(run, "COMPLETED")
    service.wait_for(next_one, "RUNNING")
    service.kill_all()
    service.start("--idle-timeout", "4")
    assert "the machine or the service ended" in service.wait_for(next_one, "CRASHED")
    assert service.process.wait(timeout=60) == 0
    until_sync(lambda: not service.pids_of_servers() and not service.file.exists())
