"""The commands for projects of devices, and what those for devices and releases share with them."""

from model_deployment.cli import completion
from tests.support.device_command_line import DeviceCommandLine, words


def test_projects_are_made_listed_shown_changed_and_deleted(run: DeviceCommandLine) -> None:
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


def test_models_and_stats(run: DeviceCommandLine) -> None:
    heading, two, one = words(run.done("project", "models", "warehouse"))
    assert heading == ["VERSION", "ALIASES", "STATUS", "SERVER", "DEVICES", "RELEASES", "METRICS"]
    assert two == ["diabetes-2", "-", "READY", "-", "0", "-", "rmse=52"]
    assert one[:4] == ["diabetes-1", "-", "READY", "ready"]
    heading, on_devices, on_server, drift = words(run.done("project", "stats", "warehouse"))
    assert on_devices == ["diabetes-1", "devices", "0", "10", "1", "1", "2", "150.5", "-"]
    assert on_server[:4] == ["diabetes-1", "server", "-", "10"]
    assert " ".join(drift).endswith("devices and server: 0.25: predictions differ")
    assert run.json("project", "stats", "warehouse", "--since", "7d")["versions"]


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


def test_refusals_are_told_in_commands(run: DeviceCommandLine) -> None:
    for arguments, status, said in REFUSED:
        assert said in run.refused(*arguments, status=status), arguments


def test_names_are_completed(run: DeviceCommandLine) -> None:
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
