"""Runs under a real service: their processes, and how they end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from harness.running_service import FINAL, RunningService
from waiting import until_sync

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def _begin(service: RunningService, release: Path, **parameters: object) -> tuple[str, int]:
    """A run that goes on until ``release`` exists, and its process."""
    run = service.create("sleeper", until=str(release), **parameters)
    service.wait_for(run, "RUNNING")
    return run, service.pids_of_runs()[0]


def _gone(service: RunningService) -> None:
    until_sync(lambda: not service.pids_of_runs(), timeout=30, what="no process of a run")


def test_run_gets_what_the_project_allows_and_no_more(
    service: RunningService, tmp_path: Path
) -> None:
    portrait = tmp_path / "portrait"
    assert "MemoryError" in service.wait_for(
        service.create("glutton", portrait=str(portrait)), *FINAL
    )
    memory, threads, folder = portrait.read_text().splitlines()
    assert int(memory) == 2**30
    assert int(threads) == max(1, (os.cpu_count() or 1) - 1)
    assert folder == str(service.project)


def test_killed_run_gives_its_slot_to_the_next_and_cancelled_ones_end(
    service: RunningService, tmp_path: Path
) -> None:
    never = tmp_path / "never"
    run, _ = _begin(service, never, leave_child=True)
    next_one, waiting = (
        service.create("sleeper", until=str(never), leave_child=child) for child in (True, False)
    )
    leader = next(one for one in service.pids_of_runs() if os.getsid(one) == one)
    os.kill(leader, signal.SIGKILL)
    assert "killed (SIGKILL)" in service.wait_for(run, *FINAL)
    service.wait_for(next_one, "RUNNING")
    tasks = service.api.post(
        "/task_runs/filter", json={"flow_runs": {"id": {"any_": [run]}}}
    ).json()
    assert {task["state_type"] for task in tasks} <= {"COMPLETED", "CRASHED"}
    for one in (waiting, next_one):
        body = {"state": {"type": "CANCELLING"}}
        service.api.post(f"/flow_runs/{one}/set_state", json=body).raise_for_status()
    service.wait_for(next_one, "CANCELLED")
    service.wait_for(waiting, "CANCELLED")
    _gone(service)


def test_run_waits_for_memory_and_goes_on_while_its_server_is_killed(
    service: RunningService, tmp_path: Path
) -> None:
    settings = service.project / "settings.yaml"
    text = settings.read_text()
    settings.write_text(text.replace("1GiB", "900GiB"))
    run = service.create("sleeper", until=str(tmp_path / "release"))
    due = service.run(run)["next_scheduled_start_time"]
    state = until_sync(
        lambda: one if (one := service.run(run)["state"])["name"] == "AwaitingMemory" else None,
        timeout=30,
    )
    assert service.run(run)["next_scheduled_start_time"] == due  # its place among others
    assert (
        "it may use 921,600 MiB (resources.memory in settings.yaml), and this machine has "
        in state["message"]
    )
    settings.write_text(text)
    service.wait_for(run, "RUNNING")
    (pid,) = service.pids_of_runs()
    for server in service.pids_of_servers():
        os.kill(server, signal.SIGKILL)
    until_sync(
        lambda: service.run(run)["state_type"] == "RUNNING" and service.pids_of_servers(),
        timeout=120,
    )
    assert service.pids_of_runs() == [pid]
    (tmp_path / "release").touch()
    service.wait_for(run, "COMPLETED")


@pytest.mark.parametrize("deaf", [False, True])
def test_run_that_goes_on_for_too_long_fails_and_says_so(
    service: RunningService, tmp_path: Path, deaf: bool
) -> None:
    settings = service.project / "settings.yaml"
    text = settings.read_text()
    settings.write_text(text.replace("memory: 1GiB", "memory: 1GiB, time: 2h"))
    run, pid = _begin(service, tmp_path / "never")
    if deaf:  # a stopped process answers no question
        os.kill(pid, signal.SIGSTOP)
    settings.write_text(text.replace("memory: 1GiB", "memory: 1GiB, time: 1s"))
    said = service.wait_for(run, "FAILED")
    settings.write_text(text)
    assert "longer than 1 s and was ended: resources.time in settings.yaml" in said
    _gone(service)


def test_second_service_is_refused(service: RunningService) -> None:
    second = service.spawn()
    _, error = second.communicate(timeout=60)
    assert second.returncode == 3
    assert f"process {service.process.pid} serves" in error.decode()
