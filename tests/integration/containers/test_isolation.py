"""What a model in a container finds: its own files, and no network, no secret, no right."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.support.container_bench import ContainerBench
from tests.support.hostile_launches import Hostiles

DISK = """
import json, os
found = {}
for folder in ("/", "/model", "/opt/model-deployment", "/run", "/run/model-deployment", "/etc",
               "/proc", "/sys", "/var", "/stub", "/root", "/dev", "/usr/local/bin"):
    try:
        os.makedirs(folder, exist_ok=True)
        with open(folder + "/written", "wb") as file:
            file.write(b"x")
        found[folder] = "written"
    except OSError as error:
        found[folder] = error.strerror
for name in ("program.py", "stub.json"):
    for how in ("ab", "wb"):
        try:
            open("/model/" + name, how).close()
            found[name] = "opened"
        except OSError as error:
            found[name] = error.strerror
for folder in ("/tmp", "/dev/shm"):
    size = 0
    try:
        with open(folder + "/filled", "wb") as file:
            while size < 1 << 30:
                size += file.write(b"x" * (1 << 20))
                file.flush()
    except OSError as error:
        found[folder] = [error.strerror, size >> 20]
    os.unlink(folder + "/filled")
print(json.dumps(found))
"""


async def test_model_that_fills_the_disk_finds_nothing_but_a_little_memory(
    hostiles: Hostiles,
) -> None:
    handle = await hostiles.attack(DISK)
    found = dict(await hostiles.findings(handle))
    assert found.pop("/tmp") == ["No space left on device", 64]  # a quarter of its memory
    why, size = found.pop("/dev/shm")
    assert why == "No space left on device"
    assert size < 65
    assert {name: why for name, why in found.items() if "only" not in why} == {
        # Those of the kernel, which nobody can write to.
        "/proc": found["/proc"],
        "/dev": "Permission denied",
    }
    assert found["/proc"] != "written"


async def test_artifacts_of_the_controller_stay_as_they_are(hostiles: Hostiles) -> None:
    handle = await hostiles.attack(DISK)
    await hostiles.findings(handle)
    model = hostiles.root / "model-1"
    assert (model / "program.py").read_text() == DISK
    assert sorted(path.name for path in model.iterdir()) == ["program.py", "stub.json"]


NETWORK = """
import json, os, socket
found = {"interfaces": [name for _, name in socket.if_nameindex()], "reached": []}
for family, address in [(socket.AF_INET, (host, port)) for host in HOSTS for port in PORTS] + [
    (socket.AF_UNIX, ABSTRACT)
]:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        try:
            client.connect(address)
            found["reached"].append(address)
        except OSError as error:
            found[str(address)] = error.strerror or str(error)
try:
    socket.getaddrinfo("example.org", 80)
    found["reached"].append("names")
except OSError:
    pass
try:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    found["reached"].append("packets")
except OSError as error:
    found["packets"] = error.strerror
# Its listening socket is of the network of the controller.
import sys
descriptor = int(sys.argv[-1])
for address in ("\\0" + "other", "/tmp/other"):
    try:
        socket.socket(fileno=os.dup(descriptor)).connect(address)
        found["reached"].append("by the listening socket")
    except OSError as error:
        found["listening"] = error.strerror
print(json.dumps(found))
"""


async def test_model_that_scans_the_network_finds_none(hostiles: Hostiles) -> None:
    own = socket.gethostbyname(socket.gethostname())
    abstract = f"\0{hostiles.instance}"
    with socket.create_server(("", 0)) as victim, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(abstract)
        unix.listen()
        hosts = ["127.0.0.1", own, "172.17.0.1", "10.0.0.1", "169.254.169.254", "192.0.2.1"]
        given = (
            f"HOSTS = {hosts!r}\nPORTS = [{victim.getsockname()[1]}, 80]\nABSTRACT = {abstract!r}\n"
        )
        handle = await hostiles.attack(given + NETWORK)
        found = await hostiles.findings(handle)
    assert found["interfaces"] == ["lo"]
    assert found["reached"] == []
    assert found["packets"] == "Operation not permitted"


SECRETS = """
import json, os, pathlib
found = {"environment": sorted(os.environ), "others": [], "files": [], "sockets": []}
for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
    try:
        if b"canary" in path.read_bytes():
            found["others"].append(str(path))
    except OSError:
        continue
found["processes"] = len([*pathlib.Path("/proc").glob("[0-9]*")])
for folder, names, files in os.walk("/"):
    if folder.startswith(("/proc", "/sys")):
        names[:] = []
        continue
    for name in files:
        path = pathlib.Path(folder, name)
        if path.is_socket():
            found["sockets"].append(str(path))
        elif "canary" in name:
            found["files"].append(str(path))
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
found |= {name: status[name].strip() for name in ("CapEff", "CapBnd", "NoNewPrivs", "Uid", "Seccomp")}
for name, do in {
    "setuid": lambda: os.setuid(0), "mknod": lambda: os.mknod("/tmp/sda", 0o60600, os.makedev(8, 0)),
    "chroot": lambda: os.chroot("/tmp"), "nice": lambda: os.nice(-5), "kill": lambda: os.kill(1, 9),
}.items():
    try:
        do()
        found[name] = "done"
    except OSError as error:
        found[name] = error.strerror
print(json.dumps(found))
"""


async def test_model_finds_no_secret_no_socket_and_no_right(
    hostiles: Hostiles, bench: ContainerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    (hostiles.root / "canary").write_text("beside the artifacts")
    await bench.serve()
    handle = await hostiles.attack(SECRETS)
    found = await hostiles.findings(handle)
    assert "GRANTED" in found["environment"]
    assert not {"AWS_SECRET_ACCESS_KEY", "DOCKER_HOST", "MODEL_DEPLOYMENT_DATA_DIR"} & {
        *found["environment"]
    }
    assert (found["others"], found["files"]) == ([], [])
    # Its own offer may still be there; no socket of another launch, and none of the engine.
    assert {*found["sockets"]} <= {"/run/model-deployment/offer.sock"}
    assert found["processes"] <= 3
    assert (found["CapEff"], found["CapBnd"]) == ("0" * 16, "0" * 16)
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    assert not {"0", str(os.getuid())} & {*found["Uid"].split()}
    assert {name: found[name] for name in ("setuid", "mknod", "chroot", "nice")} == dict.fromkeys(
        ("setuid", "mknod", "chroot", "nice"), "Operation not permitted"
    ) | {"nice": found["nice"]}
    assert found["nice"] != "done"


async def test_launches_of_one_machine_have_users_of_their_own(bench: ContainerBench) -> None:
    first, second = await bench.serve(), await bench.serve()
    users = []
    with bench.engine.client() as client:
        for handle in (first, second):
            users.append(client.api.inspect_container(handle.ref["id"])["Config"]["User"])
    assert len({*users}) == 2, users


LINKS = """
import json, os
found = {}
for name in sorted(os.listdir("/model")):
    try:
        with open("/model/" + name, "rb") as file:
            found[name] = len(file.read(100))
    except OSError as error:
        found[name] = error.strerror
print(json.dumps(found))
"""


async def test_links_among_artifacts_lead_nowhere_else(hostiles: Hostiles) -> None:
    secret = hostiles.root / "secret"
    secret.write_text("of the machine")
    spec = hostiles.spec()
    model = Path(spec.model_path)
    (model / "program.py").write_text(LINKS)
    (model / "absolute").symlink_to(secret)
    (model / "relative").symlink_to(f"../{secret.name}")
    (model / "folder").symlink_to("/etc")
    (model / "fine").symlink_to("program.py")
    handle = await hostiles.runtime.start(spec)
    found = await hostiles.findings(handle)
    assert found == {"fine": 100, "program.py": 100, "stub.json": 2}


async def test_files_of_a_launch_outlive_the_folder_that_they_came_from(
    bench: ContainerBench,
) -> None:
    """Another launch of the deployment gets a copy of its own, and the controller removes the first."""
    handle = await bench.serve()
    shutil.rmtree(bench.root / "model-1")
    with bench.engine.client() as client:
        container = client.containers.get(handle.ref["id"])
        assert container.exec_run(["python3", "-c", "open('/model/stub.json')"]).exit_code == 0
