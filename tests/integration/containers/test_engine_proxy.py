"""The proxy before the engine: launches work through it, and nothing else gets through."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from model_deployment.core.domain import Address, LaunchSpec
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.runtime.container import spec
from model_deployment.runtime.container.engine import Engine
from model_deployment.runtime.container.spec import Places
from tests.support.container_bench import FOLDER, ContainerBench, stub_image
from tests.support.engine import TestEngine
from tests.support.ports import free_port
from tests.support.waiting import until, until_sync

NAME = "model-deployment-0123456789ab-attack"


@dataclass(frozen=True)
class Proxied:
    """The proxy before the engine of all tests."""

    engine: TestEngine
    url: str
    #: The data directory of the controller.
    root: Path


@pytest.fixture(scope="module")
def proxied(engine: TestEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    stub_image(engine)
    root, port = tmp_path_factory.mktemp("data"), free_port()
    (root / FOLDER).mkdir()
    command = [
        sys.executable, "-m", "model_deployment.runtime.container.engine_proxy",
        "--engine", engine.url.removeprefix("unix://"), "--listen", f"127.0.0.1:{port}",
        "--data", str(root), "--network", "none",
    ]  # fmt: skip
    with subprocess.Popen(command) as process:
        try:
            with until_sync(lambda: socket.create_connection(("127.0.0.1", port))):
                pass
            yield Proxied(engine, f"http://127.0.0.1:{port}", root)
        finally:
            process.terminate()


async def asked(it: Proxied, method: str, path: str, body: Any = None) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, URL(f"{it.url}{path}", encoded=True), json=body) as answer,
    ):
        return answer.status, await answer.text()


async def test_launch_lives_and_ends_behind_the_proxy(proxied: Proxied) -> None:
    bench = ContainerBench(proxied.engine, proxied.root, url=proxied.url)
    await bench.prepare()
    handle = await bench.serve()
    assert (await asyncio.to_thread(bench.ask, handle, "GET", "/ping"))[0] == 200
    assert set(await bench.runtime.memory([handle])) == {handle.launch_id}
    assert await bench.runtime.list() == [handle]
    bench.exited.clear()
    await bench.runtime.stop(handle, force=True)
    await asyncio.wait_for(bench.exited.wait(), 20)
    assert (await bench.ended(handle)).code == -9
    await bench.runtime.tidy([])
    await until(lambda: asyncio.to_thread(lambda: not _containers(bench)))
    await bench.close()


def _containers(bench: ContainerBench) -> list[str]:
    with bench.engine.client() as client:
        label: dict[str, str | list[str] | bool] = {"label": f"{spec.INSTANCE}={bench.instance}"}
        return [one.name or "" for one in client.containers.list(all=True, filters=label)]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1.41/info"),
        ("GET", "/v1.41/containers/json"),
        ("GET", "/v1.41/containers/json?all=1&filters=%7B%22label%22%3A%5B%22com.docker%22%5D%7D"),
        ("GET", "/v1.41/volumes"),
        ("GET", "/v1.41/secrets"),
        ("POST", "/v1.41/build"),
        ("POST", "/v1.41/containers/prune"),
        ("POST", "/v1.41/images/create?fromSrc=-"),
        ("POST", "/v1.41/commit?container=foreign&repo=evil"),
        ("GET", "/v1.41/images/a/../../containers/foreign/json"),
        ("GET", "/v1.41/images/a/%2e%2e/%2e%2e/containers/foreign/json"),
        ("GET", "//v1.41/containers/foreign/json"),
        ("POST", "/v1.41/containers/foreign/exec"),
        ("POST", "/v1.41/containers/foreign/start"),
        ("POST", "/v1.41/containers/foreign/kill"),
        ("GET", "/v1.41/containers/foreign/logs?stdout=1"),
        ("GET", "/v1.41/containers/foreign/archive?path=/"),
        ("PUT", "/v1.41/containers/foreign/archive?path=/"),
        ("DELETE", "/v1.41/containers/foreign?force=1"),
        ("DELETE", "/v1.41/images/stubs?force=1"),
        ("GET", "/v1.41/containers/foreign/attach/ws"),
        ("POST", "/v1.41/containers/create"),
        ("POST", "/v1.41/containers/create?name=other"),
    ],
)
async def test_what_is_not_needed_is_refused(proxied: Proxied, method: str, path: str) -> None:
    with proxied.engine.client() as client:
        # Of somebody else, on the same engine.
        foreign = client.containers.create(
            "stubs", ["sleep", "60"], name="foreign", network_mode="none"
        )
        try:
            status, text = await asked(proxied, method, path)
            assert (status, "refused" in text) == (403, True), text
            foreign.reload()
            assert foreign.status == "created"
        finally:
            foreign.remove(force=True)


def fine(it: Proxied, folder: Path, **host: Any) -> dict[str, Any]:
    """What the runtime asks for, with some of its ``HostConfig`` replaced."""
    places = Places(str(folder / "model"), str(folder / "offer"))
    launch = LaunchSpec("attack", ModelKey("stub", 1), "", Address("", 0), Options())
    body = spec.body("attacked", launch, ("stubs", "stubs"), places, {}, 60)
    body["HostConfig"] |= host
    return body


def _mount(source: str, /, **more: Any) -> list[dict[str, Any]]:
    mount = {"Type": "bind", "Source": source, "Target": "/x", "ReadOnly": True}
    return [{**mount, "BindOptions": {"Propagation": "rprivate"}, **more}]


ATTACKS: dict[str, dict[str, Any]] = {
    "privileged": {"Privileged": True},
    "lower case": {"privileged": True},
    "capabilities": {"CapAdd": ["SYS_ADMIN"]},
    "fewer dropped": {"CapDrop": []},
    "seccomp": {"SecurityOpt": ["no-new-privileges", "seccomp=unconfined"]},
    "binds": {"Binds": ["/:/host"]},
    "root": {"Mounts": _mount("/")},
    "socket": {"Mounts": _mount("/var/run/docker.sock")},
    "writable": {"Mounts": _mount("/", ReadOnly=False)},
    "two sources": {"Mounts": _mount("/", source="/")},
    "volume": {"Mounts": [{"Type": "volume", "Source": "data", "Target": "/x"}]},
    "network": {"NetworkMode": "host"},
    "bridge": {"NetworkMode": "bridge"},
    "pids": {"PidMode": "host"},
    "ipc": {"IpcMode": "host"},
    "users": {"UsernsMode": "host"},
    "device": {"Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda"}]},
    "others' volumes": {"VolumesFrom": ["foreign"]},
    "no memory limit": {"Memory": 0},
    "no limit of processes": {"PidsLimit": -1},
    "logs elsewhere": {"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "tcp://192.0.2.1"}}},
    "always": {"RestartPolicy": {"Name": "always"}},
    "runtime": {"Runtime": "other"},
    "last to be killed": {"OomScoreAdj": -1000},
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
async def test_container_with_more_rights_is_refused(proxied: Proxied, attack: str) -> None:
    folder = proxied.root / FOLDER / "attack"
    for name in ("model", "offer"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    path = f"/v1.41/containers/create?name={NAME}"
    status, text = await asked(proxied, "POST", path, fine(proxied, folder, **ATTACKS[attack]))
    assert status == 403, (status, text)
    for name, value in (
        ("User", "0:0"),
        ("User", "1000:1000"),
        ("User", "61184:999"),
        ("Volumes", {"/x": {}}),
        ("Labels", {}),
    ):
        status, text = await asked(proxied, "POST", path, fine(proxied, folder) | {name: value})
        assert status == 403, (name, text)
    # The same without an attack is let through.
    status, text = await asked(proxied, "POST", path, fine(proxied, folder))
    assert status == 201, text
    assert (await asked(proxied, "DELETE", f"/v1.41/containers/{NAME}?force=1"))[0] == 204


async def test_link_in_the_place_of_a_folder_of_a_launch_is_refused(
    proxied: Proxied,
) -> None:
    folder = proxied.root / FOLDER / "link"
    (folder / "offer").mkdir(parents=True)
    (folder / "model").symlink_to("/")
    path = f"/v1.41/containers/create?name={NAME}"
    status, text = await asked(proxied, "POST", path, fine(proxied, folder))
    assert (status, "no folder of a launch" in text) == (403, True)


async def test_folder_that_became_a_link_after_the_container_was_made_is_refused(
    proxied: Proxied,
) -> None:
    folder = proxied.root / FOLDER / "later"
    for name in ("model", "offer"):
        (folder / name).mkdir(parents=True)
    path = f"/v1.41/containers/create?name={NAME}"
    status, text = await asked(proxied, "POST", path, fine(proxied, folder))
    assert status == 201, text
    try:
        (folder / "model").rename(folder / "aside")
        (folder / "model").symlink_to("/")
        # The engine mounts at the start, and follows links.
        status, text = await asked(proxied, "POST", f"/v1.41/containers/{NAME}/start")
        assert (status, "any longer" in text) == (403, True), text
    finally:
        await asked(proxied, "DELETE", f"/v1.41/containers/{NAME}?force=1")


@pytest.mark.parametrize("version", ["v1.12", "v1.18", "v1.23", "v1.24", "v1.41"])
async def test_start_gives_no_further_rights(proxied: Proxied, version: str) -> None:
    folder = proxied.root / FOLDER / "started"
    for name in ("model", "offer"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    path = f"/v1.41/containers/create?name={NAME}"
    status, text = await asked(proxied, "POST", path, fine(proxied, folder))
    assert status == 201, text
    try:
        # Engines took a body for the container's settings, in versions before 1.24 of their API.
        more = {"Privileged": True, "Binds": ["/:/host"]}
        path = f"/{version}/containers/{NAME}/start"
        status, text = await asked(proxied, "POST", path, more)
        assert (status, "refused" in text) == (403, True), text
        with proxied.engine.client() as client:
            assert client.containers.get(NAME).status == "created"
    finally:
        await asked(proxied, "DELETE", f"/v1.41/containers/{NAME}?force=1")


async def test_fields_of_a_form_do_not_replace_what_was_looked_at(proxied: Proxied) -> None:
    # The engine prefers them to the query: this would make an image from an address, of any name.
    form = {"fromImage": "", "fromSrc": "http://127.0.0.1:9/x.tar", "repo": "stubs"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{proxied.url}/v1.41/images/create?fromImage=stubs", data=form) as answer,
    ):
        assert (answer.status, "refused" in await answer.text()) == (403, True)


async def test_environment_of_a_container_is_not_told(proxied: Proxied) -> None:
    with proxied.engine.client() as client:
        foreign = client.containers.create(
            "stubs", ["sleep"], environment={"SECRET": "canary"}, network_mode="none"
        )
        try:
            status, text = await asked(proxied, "GET", f"/v1.41/containers/{foreign.id}/json")
        finally:
            foreign.remove(force=True)
    assert status == 200
    assert "canary" not in text
    assert json.loads(text)["Id"] == foreign.id


async def test_engine_is_not_asked_for_by_way_of_the_proxies_of_the_environment(
    proxied: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    engine = Engine(proxied.url)
    found = await asyncio.to_thread(engine.containers, **{spec.INSTANCE: "nobody"})
    engine.close()
    assert found == []


async def test_engine_behind_the_proxy_that_is_away_is_away(
    engine: TestEngine, tmp_path: Path
) -> None:
    bench = ContainerBench(engine, tmp_path, url=f"http://127.0.0.1:{free_port()}")
    await until(
        lambda: (
            bench.runtime.warming(Options())
            and "does not answer" in bench.runtime.warming_reason(Options())
        )
    )
    await bench.runtime.close()
