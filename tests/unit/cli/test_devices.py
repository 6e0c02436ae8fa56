"""The commands for devices: enrolled, grouped, lost, ordered about, and their logs."""

from model_deployment.core.devices import MessageKind
from tests.support.device_command_line import DeviceCommandLine, words


def test_a_device_is_enrolled_with_a_code_that_stands_alone(run: DeviceCommandLine) -> None:
    made = run("device", "enrol", "warehouse", "-g", "canary", "--device", "camera-7")
    code = made.stdout.strip()
    assert code.startswith("mdc_")
    assert "model-deployment-agent enrol http://test warehouse - --name camera-7" in made.stderr
    assert code not in made.stderr
    run.loop.run(run.world.devices.register("warehouse", code, "camera-7", {}))
    assert run.json("device", "show", "warehouse", "camera-7")["groups"] == ["canary"]


def test_groups_and_attributes_of_a_device(run: DeviceCommandLine) -> None:
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


def test_a_lost_device(run: DeviceCommandLine) -> None:
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


def test_commands_and_what_devices_answered(run: DeviceCommandLine) -> None:
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


def test_the_log_of_a_device_steers_no_terminal(run: DeviceCommandLine) -> None:
    device = run.device("camera-7")
    assert "has sent no log" in run("device", "logs", "warehouse", "camera-7").stderr
    run.loop.run(run.world.connected(device))
    line = {"at": 1_769_860_800_000, "level": "warning", "text": "\x1b]0;x\x07 hot\n[red]x[/red]"}
    run.loop.run(run.world.says(device, (MessageKind.LOG, {"lines": [line]})))
    assert run.done("device", "logs", "warehouse", "camera-7").splitlines()[1].split() == [
        "2026-01-31T12:00:00Z", "warning", "?]0;x?", "hot", "[red]x[/red]"
    ]  # fmt: skip
