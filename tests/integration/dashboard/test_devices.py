"""The pages of devices in a browser, over the real calls, use cases and rows; devices are made up."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request

from model_deployment.core.devices import Device, MessageKind
from model_deployment.core.users import Role, User
from model_deployment.credentials.access import USER
from model_deployment.dashboard.dashboard import Dashboard
from tests.support.browser import Tab, expect
from tests.support.dashboard_app import dependencies, serving
from tests.support.device_calls import DeviceWorld, device_world
from tests.support.endpoint_views import MemoryEndpoints
from tests.support.looks import faults

HOSTILE = "<img src=x onerror=alert(1)>"
PROJECT = "/dashboard/projects/warehouse"


@dataclass
class Scene:
    """The pages at an address, and what devices do meanwhile."""

    url: str = ""
    world: DeviceWorld = field(init=False)
    loop: asyncio.AbstractEventLoop = field(init=False)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something on the event loop of the pages."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def says(self, device: Device, kind: MessageKind, **data: Any) -> None:
        self.run(self.world.says(device, (kind, data)))

    def progress(self, device: Device, release: int, state: str, reason: str = "") -> None:
        self.says(
            device, MessageKind.PROGRESS,
            release=release, state=state, reason=reason, bytes=0, of=0,
        )  # fmt: skip

    def device(self, name: str) -> Device:
        """The device as it has connected."""
        row = self.run(self.world.devices.device("warehouse", name)).device
        return self.run(self.world.connected(row))  # type: ignore[no-any-return]

    def register(self, code: str, name: str) -> int:
        """Register with a code, as a device does."""
        body = json.dumps({"code": code, "device": name, "attributes": {"place": HOSTILE}}).encode()
        call = urllib.request.Request(
            f"{self.url}/warehouse/registerDevice", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(call, timeout=20) as answer:
            return answer.status  # type: ignore[no-any-return]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    found = Scene()
    app = FastAPI(lifespan=lambda app: _alive(app, tmp_path, found))

    @app.middleware("http")
    async def sign_in(request: Request, call_next):  # type: ignore[no-untyped-def]
        request.scope[USER] = User("ann", Role.OPERATOR)
        return await call_next(request)

    with serving(app) as address:
        found.url = address
        yield found


@asynccontextmanager
async def _alive(app: FastAPI, folder: Path, scene: Scene) -> AsyncIterator[None]:
    async with device_world(folder) as world:
        scene.world, scene.loop = world, asyncio.get_running_loop()
        pages = Dashboard(dependencies(MemoryEndpoints(), devices=world.devices))
        app.include_router(pages.router())
        app.mount("/", world.application())
        task = asyncio.create_task(pages.run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def filled(scene: Scene) -> list[Device]:
    """A project with three devices, of which the first is in the group canary."""
    scene.run(scene.world.devices.create_project("warehouse", ["diabetes"], "ann"))
    for name, groups in (("camera-1", ("canary",)), ("camera-2", ()), ("camera-10", ())):
        scene.run(scene.world.registered(name, *groups))
    return [scene.device(name) for name in ("camera-1", "camera-2")]


def test_somebody_makes_a_project_and_enrols_a_device_that_is_there_soon(
    scene: Scene, tab: Tab
) -> None:
    page = tab.page
    page.goto(f"{scene.url}/dashboard/projects")
    expect(page.get_by_role("heading", name="No projects yet")).to_be_visible()
    form = page.locator("#new-project")
    form.get_by_label("Name").fill("docs")
    form.get_by_label("Models").fill("diabetes")
    form.get_by_role("button", name="Create").click()
    expect(page.locator("#create-problem")).to_contain_text("reserved")
    form.get_by_label("Name").fill("warehouse")
    form.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="No devices yet")).to_be_visible()
    page.get_by_role("link", name="Enrol", exact=True).first.click()
    page.get_by_label("Groups").fill("canary, hall-3")
    page.get_by_role("button", name="Make a code").click()
    expect(page.locator("#code-left")).to_contain_text("Good for 1")
    expect(page.locator("#code-command")).to_contain_text(
        "model-deployment-agent enrol http://127.0.0.1"
    )
    found = faults(page, "a code")
    code = page.locator("#code").inner_text()
    assert scene.register(code, "camera-7") == 201
    page.get_by_role("link", name="Devices", exact=True).last.click()
    row = page.locator("#devices tbody tr")
    expect(row).to_contain_text("never")
    expect(row).to_contain_text("hall-3")
    # Its first sign of life is seen without a reload.
    page.evaluate("document.body.dataset.same = 1")
    scene.device("camera-7")
    expect(row).to_contain_text("online")
    expect(page.get_by_label("Group").locator("option")).to_have_text(["all", "canary", "hall-3"])
    scene.run(scene.world.registered("camera-8", "new-ones"))
    expect(page.get_by_label("Group").locator("option")).to_contain_text(["new-ones"])
    expect(page.locator("body[data-same]")).to_have_count(1)
    found += faults(page, "devices")
    assert found == [], "\n".join(found)
    # The console tells of the refused name.
    assert [one for one in tab.trouble if "422" not in one and "400" not in one] == []


def test_release_is_watched_paused_resumed_and_stopped(scene: Scene, tab: Tab) -> None:
    page = tab.page
    first, _ = filled(scene)
    page.goto(f"{scene.url}{PROJECT}?tab=releases")
    page.get_by_text("Set a new release").click()
    page.get_by_text("Advanced").click()
    page.get_by_label("Groups, one stage each").fill("canary")
    page.get_by_label("Percent of the other devices, rising").fill("")
    expect(page.locator("#command")).to_contain_text(
        "release set warehouse 2 --model diabetes --groups canary --percent none"
    )
    found = faults(page, "the form")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.locator("#release")).to_contain_text("preparing")
    scene.run(scene.world.rolled(1, 0))
    release = scene.run(scene.world.devices.release("warehouse", 1)).release
    scene.run(scene.world.releases.offer(release, [first.id]))
    step = page.locator('.steps [aria-current="step"]')
    expect(step).to_contain_text("0 of 1 device run it, 1 under way")
    page.get_by_role("button", name="Pause").click()
    expect(step).to_contain_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(step).to_contain_text("now")
    scene.progress(first, 1, "failed", HOSTILE)
    expect(page.locator("#updates tbody tr")).to_contain_text(HOSTILE)
    expect(step).to_contain_text("1 failed")
    found += faults(page, "a release")
    page.get_by_role("button", name="Stop").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Stop release 1?")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    dialog.get_by_role("button", name="Stop it").click()
    expect(page.locator("#release .badge.release").first).to_have_text("stopped")
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    assert found == [], "\n".join(found)
    assert tab.trouble == []


def test_devices_are_found_by_the_address_and_take_commands(scene: Scene, tab: Tab) -> None:
    page = tab.page
    first, _ = filled(scene)
    page.goto(f"{scene.url}{PROJECT}?presence=online")
    names = page.locator("#devices tbody th")
    expect(names).to_have_text(["camera-1", "camera-2"])
    page.keyboard.press("/")
    page.keyboard.type("camera-1")
    expect(names).to_have_text(["camera-1"])
    page.wait_for_url("**?search=camera-1&presence=online")
    page.get_by_label("Presence").select_option("")
    expect(names).to_have_text(["camera-1", "camera-10"])
    page.reload()
    expect(names).to_have_text(["camera-1", "camera-10"])
    page.goto(f"{scene.url}{PROJECT}?tab=commands")
    page.get_by_label("To").select_option("canary")
    page.get_by_role("button", name="Dark on").click()
    row = page.locator("#commands tbody tr")
    expect(row).to_contain_text("dark true")
    expect(row).to_contain_text("waits for the device")
    [given] = scene.run(scene.world.devices.commands("warehouse", 9))
    scene.says(first, MessageKind.ANSWER, id=given.command.id, ok=False, detail=HOSTILE)
    expect(row).to_contain_text(f"failed {HOSTILE}")
    found = faults(page, "commands")
    for name in ("stats", "events"):
        page.goto(f"{scene.url}{PROJECT}?tab={name}")
        found += faults(page, name)
    page.goto(f"{scene.url}/dashboard/projects")
    expect(page.locator("#projects tbody tr")).to_contain_text("2 online")
    found += faults(page, "projects")
    assert found == [], "\n".join(found)
    assert tab.trouble == []


def test_device_is_looked_at_changed_and_revoked(scene: Scene, tab: Tab) -> None:
    page = tab.page
    first, _ = filled(scene)
    lines = [
        {"at": 1_800_000_000_000 + number, "level": level, "text": text}
        for number, (level, text) in enumerate((("info", "begins"), ("error", HOSTILE)))
    ]
    scene.says(first, MessageKind.LOG, lines=lines)
    page.goto(f"{scene.url}{PROJECT}/devices/camera-1")
    log = page.locator("#lines .line")
    expect(log).to_have_count(2)
    page.get_by_label("Level").select_option("error")
    expect(log).to_have_count(1)
    expect(log).to_contain_text(f"error {HOSTILE}")
    page.get_by_label("Search").fill("nothing such")
    expect(page.locator("#lines")).to_have_text("No line matches.")
    page.get_by_label("Search").fill("IMG")
    expect(log).to_have_count(1)
    page.wait_for_url("**?level=error&search=IMG")
    found = faults(page, "a device")
    page.get_by_role("button", name="Change").click()
    page.get_by_label("Names, with commas").fill("canary, hall 3")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#groups-form [data-problem]")).to_contain_text("hall 3")
    page.get_by_label("Names, with commas").fill("hall-3")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#facts")).to_contain_text("hall-3")
    page.get_by_role("button", name="Give a command").click()
    page.get_by_label("Value, as JSON").fill('{"seconds": 30}')
    page.get_by_role("button", name="Give it").click()
    expect(page.locator("#more")).to_contain_text('dark {"seconds": 30}')
    page.get_by_role("button", name="New token").click()
    page.get_by_role("button", name="Make a new token").click()
    expect(page.locator("#token")).to_contain_text("mdd_")
    found += faults(page, "a token")
    page.get_by_role("button", name="I have it").click()
    expect(page.locator("#token")).to_be_empty()
    page.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.locator("#facts")).to_contain_text("revoked")
    expect(page.get_by_role("button", name="Give a command")).to_have_count(0)
    assert scene.world.connections.dropped
    assert found == [], "\n".join(found)
    assert [one for one in tab.trouble if "422" not in one] == []
