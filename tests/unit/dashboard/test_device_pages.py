"""The pages of projects and devices as HTML: what they say, to whom, and that nothing in them is markup."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
from fastapi import FastAPI

from model_deployment.core.device_figures import DeviceFigures, ProjectFigures, ReleaseFigures
from model_deployment.core.devices import Presence, UpdateState
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import ReleaseState
from model_deployment.core.users import Role
from model_deployment.dashboard.dashboard import Dashboard
from model_deployment.devices.views import PlaceStats, VersionStats
from model_deployment.documents.base import StoreUnavailable
from model_deployment.rendering import numbers
from tests.support.dashboard_app import dependencies
from tests.support.endpoint_views import MemoryEndpoints
from tests.support.memory_devices import (
    MemoryDevices,
    command,
    device,
    moment,
    release,
    update,
    warehouse,
)

PROJECT = "/dashboard/projects/warehouse"
SCRIPT = "<script>alert(1)</script>\"'>"
#: Turns the direction of what follows.
TRICK = "\u202e"
TABS = ("devices", "releases", "commands", "enrolment", "stats", "events")


def site(
    devices: MemoryDevices,
    role: Role = Role.OPERATOR,
    figures: DeviceFigures | None = None,
    **changes: object,
) -> httpx.AsyncClient:
    app = FastAPI()
    given = dependencies(MemoryEndpoints(), role, devices=devices.use_cases(), figures=figures)
    for name, value in changes.items():
        setattr(given, name, value)
    app.include_router(Dashboard(given).router())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://pages")


async def fetch(
    devices: MemoryDevices, path: str, role: Role = Role.OPERATOR, **changes: Any
) -> httpx.Response:
    return await site(devices, role, **changes).get(path)


def rows(page: str, id: str) -> list[str]:
    table = page.partition(f'id="{id}"')[2].partition("</table>")[0]
    body = table.partition("<tbody>")[2]
    found = re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", one).split()) for one in found]


async def test_list_shows_who_is_there_and_how_far_the_release_is() -> None:
    page = (await fetch(warehouse(), "/dashboard/projects")).text
    [row] = rows(page, "projects")
    assert "9 online · 1 offline · 1 never seen" in row
    assert "3 diabetes-3 rolling 10 %: 3 of 4 devices run it" in row
    assert row.endswith("1 of 12 devices run it, 2 under way, 1 failed")
    assert 'href="/dashboard/projects" aria-current="page"' in page
    assert 'id="new-project"' in page
    assert "style=" not in page


async def test_devices_show_presence_and_both_releases() -> None:
    page = (await fetch(warehouse(), PROJECT)).text
    found = rows(page, "devices")
    assert [one.split()[0] for one in found] == [f"camera-{number}" for number in range(1, 13)]
    assert found[1].startswith("camera-2 online canary 2 3 failed the example predicts 152.1")
    assert found[2].startswith("camera-3 online 2 3 downloading 38 % of 4 MB")
    assert found[3].startswith("camera-4 offline 2 3 offered")
    assert found[10].startswith("camera-11 revoked")
    assert found[11].startswith(f"camera-12 never {numbers.NONE} 3")


async def test_filters_are_in_the_address_and_in_the_form() -> None:
    path = f"{PROJECT}?presence=online&group=canary&search=hall"
    page = (await fetch(warehouse(), path)).text
    assert len(rows(page, "devices")) == 2
    assert '<option value="canary" selected>' in page
    assert '<option value="online" selected>' in page
    assert 'name="search" value="hall"' in page
    assert "1 to 2 of 2 that match, of 12 in all" in page
    part = (await fetch(warehouse(), f"{PROJECT}/now?presence=offline")).text
    assert part.startswith('<div id="now"')
    assert len(rows(part, "devices")) == 1


async def test_two_thousand_devices_come_a_page_at_a_time() -> None:
    many = MemoryDevices([device(number) for number in range(1, 2001)])
    page = await fetch(many, f"{PROJECT}?group=&page=3")
    assert len(rows(page.text, "devices")) == 100
    assert rows(page.text, "devices")[0].startswith("camera-201 ")
    assert "201 to 300 of 2,000" in page.text
    assert re.findall(r'<a class="button" href="\?page=(\d+)"', page.text) == ["2", "4"]
    assert len(page.text) < 150_000


async def test_release_is_shown_with_its_stages_and_who_failed() -> None:
    page = (await fetch(warehouse(), f"{PROJECT}?tab=releases")).text
    assert "Release 3: diabetes-3" in page
    steps = re.findall(r'<li class="(\w+)"[^>]*><b>([^<]+)</b> <span>([^<]+)', page)
    assert steps == [
        ("done", "group canary", "done"), ("here", "10 %", "now"), ("ahead", "the rest", "to come"),
    ]  # fmt: skip
    assert page.count('aria-current="step"') == 1
    assert re.findall(r'data-do="(pause|resume|stop)"', page) == ["pause", "stop"]
    assert rows(page, "updates")[0].startswith("camera-2 group canary failed")
    assert [one.split()[0] for one in rows(page, "all")] == ["3", "2", "1"]
    older = (await fetch(warehouse(), f"{PROJECT}?tab=releases&number=1")).text
    assert "Release 1: diabetes-1" in older
    assert '<p class="problem">2 of 2 devices failed</p>' in older
    assert not re.findall(r'data-do="(pause|resume|stop)"', older)


async def test_versions_and_endpoints_of_the_project_can_be_released() -> None:
    page = (await fetch(warehouse(), f"{PROJECT}?tab=releases")).text
    assert re.findall(r'<option value="(diabetes \d+)"', page) == ["diabetes 4", "diabetes 3"]
    assert 'name="groups" value="canary"' in page
    assert 'name="percent" value="10"' in page
    # The form is not loaded again: what was written into it stays.
    part = (await fetch(warehouse(), f"{PROJECT}/now?tab=releases")).text
    assert "<form" not in part


async def test_commands_say_how_they_went() -> None:
    page = (await fetch(warehouse(), f"{PROJECT}?tab=commands")).text
    found = rows(page.replace('id="order"', ""), "commands")
    assert [re.sub(r"\d{4}-\S+ \S+ by ann ", "", one) for one in found] == [
        "camera-1 interval {&#34;seconds&#34;: 30} waits for the device",
        "camera-1 dark true delivered",
        "camera-1 dark false done the lamp is off",
        "camera-1 zoom 9 failed there is no zoom",
    ]


async def test_statistics_are_side_by_side() -> None:
    page = (await fetch(warehouse(), f"{PROJECT}?tab=stats&window=7d")).text
    assert '<b aria-current="true">7d</b>' in page
    found = rows(page, "stats")
    assert found[0] == "requests 1,200 5,000"
    assert "p95 2.5 ms 4.8 ms" in found
    assert "predictions 900: 170 ± 61 900: 152 ± 61" in found
    assert "drift 0.31 predictions are higher" in found
    assert '<td class="num bad">0.31</td>' in page


async def test_classes_and_places_without_traffic_have_their_words() -> None:
    devices = warehouse()
    shares = {"count": 7, "shares": {"yes": 0.75, "no": 0.25}}
    devices.counted = [
        VersionStats(ModelKey("diabetes", 3), 0, PlaceStats(predictions=shares), None, None, "few")
    ]
    found = rows((await fetch(devices, f"{PROJECT}?tab=stats")).text, "stats")
    assert f"predictions 7: yes 75 %, no 25 % {numbers.NONE}" in found
    assert f"p95 {numbers.NONE} {numbers.NONE}" in found


async def test_device_shows_what_it_runs_its_health_and_its_charts() -> None:
    page = (await fetch(warehouse(), f"{PROJECT}/devices/camera-2?window=1h")).text
    main = " ".join(re.sub(r"<[^>]+>", " ", page.partition("<main")[2]).split())
    assert "Runs release 2 agent 0.1.0" in main
    assert "Should run release 3 failed the example predicts 152.1" in main
    assert "memory 39 MB" in main
    assert "temperature 51.5 °C" in main
    assert "place hall 2" in main
    assert page.count("<figure") == 2
    assert "600 requests, 600 rows; 10 model failed" in main
    assert re.findall(r'data-do="(\w+)"', page) == ["rotate", "revoke", "groups", "command"]


async def test_device_page_stays_when_the_document_store_is_away() -> None:
    async def away(*_: object) -> list[object]:
        raise StoreUnavailable("no answer within 2 s")

    answer = await fetch(warehouse(), f"{PROJECT}/devices/camera-1", device_traffic=away)
    assert answer.status_code == 200
    assert "cannot read the document store now: no answer within 2 s" in answer.text
    assert "temperature" in answer.text


async def test_revoked_device_has_nothing_to_steer() -> None:
    page = (await fetch(warehouse(), f"{PROJECT}/devices/camera-11")).text
    shown = [
        one for one in re.findall(r'<button[^>]*data-do="\w+"[^>]*>', page) if "hidden" not in one
    ]
    assert shown == []
    assert "its token is no longer good" in page


async def test_callers_look_and_touch_nothing() -> None:
    client = site(warehouse(), Role.CALLER)
    for path in (*(f"{PROJECT}?tab={tab}" for tab in TABS), f"{PROJECT}/devices/camera-1"):
        page = (await client.get(path)).text
        assert "<h1" in page, path
        for part in ("data-do=", "<dialog", 'id="new-', "tab=enrolment", 'id="log"'):
            assert part not in page, (path, part)


async def test_whatever_devices_send_is_text() -> None:
    long = SCRIPT + TRICK + "x" * 5000
    one = device(
        1, groups=(SCRIPT,), attributes={long: long, "a": [long]}, agent=long, health={long: long}
    )
    made = update(1, UpdateState.FAILED, reason=long)
    hostile = MemoryDevices([one], {1: made}, [release(state=ReleaseState.STOPPED, reason=long)])
    hostile.given = [command(1, SCRIPT, {long: long}, answered_at=moment(1), ok=False, answer=long)]
    hostile.happened = [replace(event, reason=long) for event in warehouse().happened]
    hostile.counted = [
        VersionStats(ModelKey("m", 1), 1, PlaceStats(9, 9, {long: 1}), None, None, long)
    ]
    client = site(hostile, figures=DeviceFigures([_figures(long)]))
    for path in (
        "/dashboard/projects",
        *(f"{PROJECT}?tab={tab}" for tab in TABS),
        *(f"{PROJECT}/now?tab={tab}" for tab in TABS),
        f"{PROJECT}?search={SCRIPT}&group={SCRIPT}&presence={SCRIPT}&release={SCRIPT}",
        f"{PROJECT}/devices/camera-1",
        f"{PROJECT}/devices/camera-1/now?window={SCRIPT}",
        "/",
    ):
        answer = await client.get(path)
        assert answer.status_code == 200, path
        for part in ("<script>alert", TRICK, "x" * 600):
            assert part not in answer.text, (path, part)
        assert not re.search(r"<[^>]+\s(style|on\w+)=", answer.text), path
        links = re.findall(r'href="([^"]*)"', answer.text)
        assert all(one.startswith(("/", "?", "#")) for one in links), links


def _figures(reason: str) -> ProjectFigures:
    stopped = ReleaseFigures(3, ModelKey("m", 1), ReleaseState.STOPPED, reason, moment(3))
    return ProjectFigures("warehouse", {Presence.OFFLINE: 5}, newest=stopped, asked=stopped)


async def test_what_is_not_there_is_a_page_that_says_so() -> None:
    client = site(warehouse())
    for path in (
        "/dashboard/projects/elsewhere",
        "/dashboard/projects/elsewhere/now",
        f"{PROJECT}/devices/nobody",
        f"{PROJECT}/devices/nobody/now",
        f"{PROJECT}?tab=releases&number=99",
    ):
        answer = await client.get(path)
        assert answer.status_code == 404, path
        assert "cannot find" in answer.text, path


async def test_first_page_says_what_to_do() -> None:
    empty = MemoryDevices()
    assert "No devices yet" in (await fetch(empty, PROJECT)).text
    assert (
        "model-deployment release set warehouse VERSION"
        in (await fetch(empty, f"{PROJECT}?tab=releases")).text
    )
    none = (await fetch(empty, f"{PROJECT}?search=x")).text
    assert "None of" not in none


async def test_overview_tells_of_projects_that_need_attention() -> None:
    counted = [ProjectFigures("warehouse", {Presence.OFFLINE: 40, Presence.ONLINE: 10})]
    page = (await fetch(warehouse(), "/", figures=DeviceFigures(counted))).text
    line = page.partition('id="attention"')[2].partition("</section>")[0]
    assert 'href="/dashboard/projects/warehouse?tab=devices"' in line
    assert "40 of 50 devices send nothing" in line
    assert "project of devices" in line
    calm = [ProjectFigures("warehouse", {Presence.ONLINE: 10})]
    page = (await fetch(warehouse(), "/", figures=DeviceFigures(calm))).text
    assert "project of devices" not in page


async def test_times_of_a_page_are_those_of_the_rows() -> None:
    seen = datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)
    one = MemoryDevices([device(1, last_seen_at=seen)])
    page = (await fetch(one, PROJECT)).text
    assert '<time datetime="2026-01-31T12:00:05+00:00"' in page
