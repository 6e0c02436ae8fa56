"""The commands for releases: set, steered, and followed until their end."""

import io
import time
from typing import Any

import pytest
from rich.console import Console

from model_deployment.cli import live_view
from model_deployment.core.devices import Device, MessageKind
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import ReleasePolicy, ReleaseState
from tests.support.device_command_line import DeviceCommandLine, words


def test_a_release_is_set_with_the_policy_that_flags_name(run: DeviceCommandLine) -> None:
    begun = run("release", "set", "warehouse", "2")
    assert begun.stdout == "Look: model-deployment release show warehouse 1 --follow\n"
    assert begun.stderr == "release 1 of warehouse, diabetes-2 begins\n"
    assert run.policy(1) == ReleasePolicy()
    run.done(
        "release", "set", "warehouse", "1", "-m", "diabetes", "--groups", "canary, hall-3",
        "--percent", "10,50", "--success", "95", "--soak", "10m", "--abort", "1/4",
    )  # fmt: skip
    policy = run.policy(2)
    assert (policy.groups, policy.percent, policy.success, policy.soak) == (
        ("canary", "hall-3"), (10, 50), 95, 600
    )  # fmt: skip
    assert (policy.abort.failed, policy.abort.of) == (1, 4)
    run.done("release", "set", "warehouse", "1", "--groups", "none", "--percent", "none")
    assert (run.policy(3).groups, run.policy(3).percent, run.policy(3).success) == ((), (), 90)
    heading, newest, *_ = words(run.done("release", "list", "warehouse"))
    assert heading == ["NUMBER", "VERSION", "STATE", "STAGE", "SINCE", "BY", "REASON"]
    assert newest[:4] == ["3", "diabetes-1", "preparing", "1/1"]
    assert len(run.json("release", "list", "warehouse", "--limit", "2")) == 2


def told_of(run: DeviceCommandLine, number: int, *found: Device) -> None:
    """Have devices connect, and be told of a release."""

    async def work() -> None:
        release = await run.world.rolled(number, 0)
        for device in found:
            await run.world.connected(device)
        await run.world.releases.offer(release, [device.id for device in found])

    run.loop.run(work())


def progress(run: DeviceCommandLine, device: Device, state: str, **more: Any) -> None:
    data = {"release": 1, "state": state, "reason": "", "bytes": 0, "of": 0} | more
    run.loop.run(run.world.says(device, (MessageKind.PROGRESS, data)))


def test_show_tells_the_stages_and_the_devices_with_trouble(run: DeviceCommandLine) -> None:
    good, bad = run.device("good", "canary"), run.device("bad", "canary")
    run.device("other")
    run.done("release", "set", "warehouse", "2", "--percent", "none")
    told_of(run, 1, good, bad)
    progress(run, good, "running")
    progress(run, bad, "failed", reason="\x1b[2Jno memory")
    assert (
        run.done("release", "show", "warehouse")
        == """\
release 1 of warehouse, diabetes-2
  rolling: prepared; waits for bad (failed): 1 of 2 devices run it, 90 % have to
  group canary open  ##########.......... 1 of 2 devices; 1 failed
    bad failed: ?[2Jno memory
  the rest     waits .................... 0 of 1 device
"""
    )
    assert run.json("release", "show", "warehouse", "1")["stages"][0]["counts"]["failed"] == 1
    lines = words(run.done("device", "list", "warehouse"))
    assert lines[0] == ["NAME", "STATE", "SEEN", "RUNS", "WANTED", "UPDATE", "AGENT", "GROUPS"]
    assert [(line[0], line[1], line[3], line[4]) for line in lines[1:]] == [
        ("bad", "online", "-", "1"), ("good", "online", "1", "1"), ("other", "never", "-", "-")
    ]  # fmt: skip
    assert "\x1b" not in run.done("device", "list", "warehouse")
    assert "RELEASE" in run.done("device", "show", "warehouse", "bad")
    assert "\x1b" not in run.done("device", "show", "warehouse", "bad")


def test_follow_prints_a_line_for_each_change_until_the_end(run: DeviceCommandLine) -> None:
    device = run.device("camera-7", "canary")
    run.done("release", "set", "warehouse", "2")
    told_of(run, 1, device)
    states = iter(["downloading", "running", ReleaseState.STOPPED])
    show = run.world.devices.release

    async def changing(project: str, number: int) -> Any:
        found = await show(project, number)
        match next(states, None):
            case ReleaseState.STOPPED:
                stopped = ReleaseState.STOPPED
                await run.world.releases.move(found.release, stopped, "stopped by ann")
            case str() as state:
                data = {"release": 1, "state": state, "reason": "", "bytes": 1, "of": 2}
                await run.world.says(device, (MessageKind.PROGRESS, data))
        return found

    run.world.devices.release = changing  # type: ignore[method-assign]
    found = run("release", "show", "warehouse", "--follow")
    assert found.exit_code == 1, found.output
    title = "release 1 of warehouse, diabetes-2"
    waits = "rolling: prepared; waits for camera-7"
    assert found.stdout.splitlines() == [
        f"{title}: {waits} (offered): 0 of 1 devices run it, 90 % have to (group canary 0/1)",
        f"{title}: {waits} (downloading): 0 of 1 devices run it, 90 % have to (group canary 0/1)",
        f"{title}: rolling: prepared (group canary 1/1)",
        f"{title}: stopped: stopped by ann",
    ]


def test_follow_draws_in_place_on_a_terminal(
    run: DeviceCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(live_view, "out", Console(file=screen, force_terminal=True, width=100))
    run.device("camera-7", "canary")
    run.done("release", "set", "warehouse", "2")
    show = run.world.devices.release

    async def stopping(project: str, number: int) -> Any:
        found = await show(project, number)
        if found.release.state is ReleaseState.PREPARING:
            await run.world.releases.move(found.release, ReleaseState.STOPPED, "by ann")
        return found

    run.world.devices.release = stopping  # type: ignore[method-assign]
    assert run("release", "show", "warehouse", "--follow").exit_code == 1
    first, _, last = screen.getvalue().partition("stopped: by ann")
    assert "preparing" in first
    assert first.count("\x1b[1A") >= 4  # up again, over all lines of the first frame
    assert "group canary" in last


def test_follow_leaves_quietly_when_it_is_interrupted(
    run: DeviceCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    run.done("release", "set", "warehouse", "2")
    monkeypatch.setattr(time, "sleep", interrupted)
    found = run("release", "show", "warehouse", "--follow")
    assert (found.exit_code, found.stderr) == (130, "the release goes on without this view\n")


def test_releases_are_steered(run: DeviceCommandLine) -> None:
    run.done("release", "set", "warehouse", "2")
    run.loop.run(run.world.rolled(1, 0))
    assert ": paused: paused" in run.done("release", "pause", "warehouse", "1")
    assert ": rolling: resumed" in run.done("release", "resume", "warehouse", "1")
    assert run.json("release", "stop", "warehouse", "1")["state"] == "stopped"
    heading, newest, *_ = words(run.done("project", "events", "warehouse", "--release", "1"))
    assert heading == ["AT", "RELEASE", "STATE", "DEVICE", "REASON"]
    assert newest[1:] == ["1", "stopped", "-", "stopped"]
    assert "it is stopped" in run.refused("release", "pause", "warehouse", "1")


def test_an_endpoint_is_followed(run: DeviceCommandLine) -> None:
    name = EndpointName("diabetes", "champion")
    run.world.champions[name] = None
    assert "serves no version yet" in run.done("release", "follow", "warehouse", str(name))
    run.world.champions[name] = ModelKey("diabetes", 1)
    begun = run("release", "follow", "warehouse", str(name), "--groups", "none")
    assert begun.stderr.endswith("diabetes-1 begins, as diabetes@champion does\n")
    assert "diabetes@champion" in run.done("project", "list")
    assert run.done("release", "unfollow", "warehouse") == "warehouse follows no endpoint\n"
