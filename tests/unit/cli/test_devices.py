"""The commands for projects, devices and releases, against the calls themselves in this process."""

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from model_deployment.cli import completion, device_commands, devices, live_view, projects, releases
from model_deployment.cli.main import app
from model_deployment.client import Client
from model_deployment.core.devices import Device, MessageKind
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import ReleasePolicy, ReleaseState
from tests.support.device_calls import DeviceWorld, LoopThread, device_world
from tests.support.in_this_process import InThisProcess


class Commands:
    """Runs commands against a controller with the project ``warehouse``."""

    def __init__(self, world: DeviceWorld, loop: LoopThread, client: Client) -> None:
        self.world, self.loop, self.client = world, loop, client

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments])

    def done(self, *arguments: str) -> str:
        """What a command prints that succeeds."""
        found = self(*arguments)
        assert found.exit_code == 0, found.output
        return found.stdout

    def refused(self, *arguments: str, status: int = 1) -> str:
        found = self(*arguments)
        assert (found.exit_code, found.stdout) == (status, ""), found.output
        return " ".join(found.stderr.replace("│", "").split())

    def json(self, *arguments: str) -> Any:
        return json.loads(self.done(*arguments, "--json"))

    def device(self, name: str, *groups: str) -> Device:
        return self.loop.run(self.world.registered(name, *groups))

    def policy(self, number: int) -> ReleasePolicy:
        return self.loop.run(self.world.devices.release("warehouse", number)).release.policy


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    with LoopThread() as loop:
        context = device_world(tmp_path)
        world = loop.run(context.__aenter__())
        loop.run(world.devices.create_project("warehouse", ["diabetes"], "ann"))
        client = Client("http://test")
        transport = InThisProcess(world.application(), loop.run)
        client._http = httpx.Client(transport=transport, base_url="http://test")
        for module in (device_commands, devices, projects, releases):
            monkeypatch.setattr(module, "controller_at", lambda url: client)
        monkeypatch.setattr(releases, "_EVERY", 0)
        yield Commands(world, loop, client)
        client.close()
        loop.run(context.__aexit__(None, None, None))


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_projects_are_made_listed_shown_changed_and_deleted(run: Commands) -> None:
    made = run.done("project", "create", "halls", "-m", "heart", "--model", "diabetes")
    assert made == "project halls is made\nNext: model-deployment device enrol halls\n"
    run.device("camera-7")
    heading, halls, warehouse = words(run.done("project", "list"))
    assert heading == [
        "NAME",
        "MODELS",
        "ONLINE",
        "DEVICES",
        "RELEASE",
        "VERSION",
        "STATE",
        "FOLLOWS",
    ]
    assert halls == ["halls", "heart,diabetes", "0", "0", "-", "-", "-", "-"]
    assert warehouse == ["warehouse", "diabetes", "0", "1", "-", "-", "-", "-"]
    assert "devices  1 never" in run.done("project", "show", "warehouse")
    assert run.json("project", "show", "halls")["models"] == ["heart", "diabetes"]
    assert "has the models heart\n" in run.done("project", "change", "halls", "-m", "heart")
    assert run.done("project", "delete", "halls") == "project halls is deleted\n"
    assert "delete it with --force" in run.refused("project", "delete", "warehouse")
    run.done("project", "delete", "warehouse", "--force")
    assert "Try: model-deployment project create PROJECT" in run.done("project", "list")


def test_models_and_stats(run: Commands) -> None:
    heading, two, one = words(run.done("project", "models", "warehouse"))
    assert heading == ["VERSION", "ALIASES", "STATUS", "SERVER", "DEVICES", "RELEASES", "METRICS"]
    assert two == ["diabetes-2", "-", "READY", "-", "0", "-", "rmse=52"]
    assert one[:4] == ["diabetes-1", "-", "READY", "ready"]
    heading, on_devices, on_server, drift = words(run.done("project", "stats", "warehouse"))
    assert on_devices == ["diabetes-1", "devices", "0", "10", "1", "1", "2", "150.5", "-"]
    assert on_server[:4] == ["diabetes-1", "server", "-", "10"]
    assert " ".join(drift).endswith("devices and server: 0.25: predictions differ")
    assert run.json("project", "stats", "warehouse", "--since", "7d")["versions"]


def test_a_release_is_set_with_the_policy_that_flags_name(run: Commands) -> None:
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


REFUSED: list[tuple[list[str], int, str]] = [
    (["release", "set", "warehouse", "9"], 1, "cannot find diabetes-9"),
    (["release", "set", "warehouse", "0"], 2, "greater than or equal to 1"),
    (["release", "set", "warehouse", "1", "--percent", "10;50"], 2, "write percentages like 10,50"),
    (["release", "set", "warehouse", "1", "--percent", "50,10"], 1, "larger than the one before"),
    (["release", "set", "warehouse", "1", "--abort", "2"], 2, "write it like 2/10"),
    (["release", "set", "warehouse", "1", "--soak", "soon"], 1, "a number of seconds"),
    (["release", "set", "warehouse", "1", "-m", "heart"], 1,
     "add heart with: model-deployment project change warehouse --model MODEL"),
    (["release", "follow", "warehouse", "diabetes@champion"], 1,
     "model-deployment endpoint set diabetes@champion"),
    (["release", "show", "warehouse"], 1, "model-deployment release set warehouse VERSION"),
    (["release", "show", "warehouse", "4"], 1, "cannot find release 4 of warehouse"),
    (["project", "show", "none"], 1, "model-deployment project create PROJECT --model MODEL"),
    (["project", "create", "a b", "-m", "heart"], 1, "cannot use the project name 'a b'"),
    (["project", "create", "models", "-m", "heart"], 1, "it is reserved"),
    (["project", "create", "halls"], 2, "--model"),
    (["device", "show", "warehouse", "none"], 1, "model-deployment device list warehouse"),
    (["device", "command", "warehouse", "a b", "1"], 1, "cannot use the command name"),
    (["device", "command", "warehouse", "x", "1", "-g", "none"], 1,
     "model-deployment device list warehouse shows the groups"),
    (["device", "attributes", "warehouse", "d", "place"], 2, "write it like place=hall3"),
    (["device", "list", "warehouse", "--state", "away"], 1, "cannot use"),
]  # fmt: skip


def test_refusals_are_told_in_commands(run: Commands) -> None:
    for arguments, status, said in REFUSED:
        assert said in run.refused(*arguments, status=status), arguments


def told_of(run: Commands, number: int, *found: Device) -> None:
    """Have devices connect, and be told of a release."""

    async def work() -> None:
        release = await run.world.rolled(number, 0)
        for device in found:
            await run.world.connected(device)
        await run.world.releases.offer(release, [device.id for device in found])

    run.loop.run(work())


def progress(run: Commands, device: Device, state: str, **more: Any) -> None:
    data = {"release": 1, "state": state, "reason": "", "bytes": 0, "of": 0} | more
    run.loop.run(run.world.says(device, (MessageKind.PROGRESS, data)))


def test_show_tells_the_stages_and_the_devices_with_trouble(run: Commands) -> None:
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


def test_follow_prints_a_line_for_each_change_until_the_end(run: Commands) -> None:
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
    run: Commands, monkeypatch: pytest.MonkeyPatch
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
    run: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    run.done("release", "set", "warehouse", "2")
    monkeypatch.setattr(time, "sleep", interrupted)
    found = run("release", "show", "warehouse", "--follow")
    assert (found.exit_code, found.stderr) == (130, "the release goes on without this view\n")


def test_releases_are_steered(run: Commands) -> None:
    run.done("release", "set", "warehouse", "2")
    run.loop.run(run.world.rolled(1, 0))
    assert ": paused: paused" in run.done("release", "pause", "warehouse", "1")
    assert ": rolling: resumed" in run.done("release", "resume", "warehouse", "1")
    assert run.json("release", "stop", "warehouse", "1")["state"] == "stopped"
    heading, newest, *_ = words(run.done("project", "events", "warehouse", "--release", "1"))
    assert heading == ["AT", "RELEASE", "STATE", "DEVICE", "REASON"]
    assert newest[1:] == ["1", "stopped", "-", "stopped"]
    assert "it is stopped" in run.refused("release", "pause", "warehouse", "1")


def test_an_endpoint_is_followed(run: Commands) -> None:
    name = EndpointName("diabetes", "champion")
    run.world.champions[name] = None
    assert "serves no version yet" in run.done("release", "follow", "warehouse", str(name))
    run.world.champions[name] = ModelKey("diabetes", 1)
    begun = run("release", "follow", "warehouse", str(name), "--groups", "none")
    assert begun.stderr.endswith("diabetes-1 begins, as diabetes@champion does\n")
    assert "diabetes@champion" in run.done("project", "list")
    assert run.done("release", "unfollow", "warehouse") == "warehouse follows no endpoint\n"


def test_a_device_is_enrolled_with_a_code_that_stands_alone(run: Commands) -> None:
    made = run("device", "enrol", "warehouse", "-g", "canary", "--device", "camera-7")
    code = made.stdout.strip()
    assert code.startswith("mdc_")
    assert "model-deployment-agent enrol http://test warehouse - --name camera-7" in made.stderr
    assert code not in made.stderr
    run.loop.run(run.world.devices.register("warehouse", code, "camera-7", {}))
    assert run.json("device", "show", "warehouse", "camera-7")["groups"] == ["canary"]


def test_groups_and_attributes_of_a_device(run: Commands) -> None:
    run.device("camera-7", "canary")
    shown = ("device", "groups", "warehouse", "camera-7")
    assert run.done(*shown) == "camera-7: canary\n"
    assert run.done(*shown, "--add", "hall-3") == "camera-7: canary, hall-3\n"
    assert run.done(*shown, "--remove", "canary", "--add", "x") == "camera-7: hall-3, x\n"
    assert run.done(*shown, "a,b") == "camera-7: a, b\n"
    assert run.done(*shown, "none") == "camera-7: no group\n"
    assert "either all of them" in run.refused(*shown, "a", "--add", "b", status=2)
    set_ = ("device", "attributes", "warehouse", "camera-7", "place=yard", "x=1.5", "on=true")
    assert run.done(*set_) == "camera-7: place=yard, x=1.5, on=True\n"


def test_a_lost_device(run: Commands) -> None:
    run.device("camera-7")
    one = ("warehouse", "camera-7")
    rotated = run("device", "rotate", *one)
    assert rotated.stdout.startswith("mdd_")
    assert rotated.stdout.strip() not in rotated.stderr
    revoked = run.done("device", "revoke", *one)
    assert "model-deployment device enrol warehouse --device camera-7" in revoked
    assert run.json("device", "list", "warehouse", "--state", "revoked")[0]["name"] == "camera-7"
    assert (
        run.done("device", "list", "warehouse", "--state", "online") == "No device is like that.\n"
    )
    assert run.done("device", "delete", *one) == "camera-7 is deleted\n"
    assert "Try: model-deployment device enrol" in run.done("device", "list", "warehouse")


def test_commands_and_what_devices_answered(run: Commands) -> None:
    assert run.done("device", "commands", "warehouse") == "There are no commands.\n"
    device = run.device("camera-7", "canary")
    told = run.done("device", "command", "warehouse", "dark", "true", "--group", "canary")
    assert told.startswith("dark goes to 1 device: camera-7\n")
    run.done("device", "command", "warehouse", "text", "hello there", "--device", "camera-7")
    heading, text, dark = words(run.done("device", "commands", "warehouse"))
    assert heading == ["ID", "DEVICE", "NAME", "VALUE", "AT", "BY", "STATE", "ANSWER"]
    assert (text[2:5], dark[2:4], dark[6]) == (
        ["text", "hello", "there"],
        ["dark", "True"],
        "waits",
    )
    run.loop.run(run.world.connected(device))
    answer = {"id": int(dark[0]), "ok": False, "detail": "no lamp"}
    run.loop.run(run.world.says(device, (MessageKind.ANSWER, answer)))
    assert words(run.done("device", "commands", "warehouse"))[2][6:] == ["failed", "no", "lamp"]


def test_the_log_of_a_device_steers_no_terminal(run: Commands) -> None:
    device = run.device("camera-7")
    assert "has sent no log" in run("device", "logs", "warehouse", "camera-7").stderr
    run.loop.run(run.world.connected(device))
    line = {"at": 1_769_860_800_000, "level": "warning", "text": "\x1b]0;x\x07 hot\n[red]x[/red]"}
    run.loop.run(run.world.says(device, (MessageKind.LOG, {"lines": [line]})))
    assert run.done("device", "logs", "warehouse", "camera-7").splitlines()[1].split() == [
        "2026-01-31T12:00:00Z", "warning", "?]0;x?", "hot", "[red]x[/red]"
    ]  # fmt: skip


def test_names_are_completed(run: Commands) -> None:
    run.device("camera-7")
    run.done("release", "set", "warehouse", "2")

    class Given:
        params = {"project": "warehouse"}

    for source, names in (
        (completion._device_projects, ["warehouse"]),
        (completion._devices, ["camera-7"]),
        (completion._releases, ["1"]),
    ):
        assert source(run.client, Given()) == names  # type: ignore[arg-type]
