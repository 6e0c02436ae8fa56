"""The pages of endpoints as HTML: what they say, to whom, and that nothing in them is anybody's markup."""

import re

import httpx

from model_deployment.core.endpoints import EndpointName, RolloutState
from model_deployment.core.users import Role
from tests.support.dashboard_app import application
from tests.support.endpoint_views import MemoryEndpoints, endpoint, rollout, steady, view

PAGE = "/dashboard/endpoints/diabetes@champion"
SCRIPT = "<img src=x onerror=alert(1)>"


async def fetch(
    endpoints: MemoryEndpoints, path: str, role: Role = Role.OPERATOR
) -> httpx.Response:
    transport = httpx.ASGITransport(application(endpoints, role))
    async with httpx.AsyncClient(transport=transport, base_url="http://pages") as client:
        return await client.get(path)


async def test_page_begins_with_the_status_in_words() -> None:
    page = (await fetch(MemoryEndpoints(view()), PAGE)).text
    main = page.partition("<main")[2]
    status = "Version 1 serves; version 2 answers 25 % of the requests: 38 requests to version 2"
    assert status in main.partition("<section")[0]
    # Shares in words beside the bars, which screen readers skip.
    shares = re.findall(r"<b>(\d+ %)</b></td>\s*<td class=\"way\"><svg [^>]*aria-hidden", main)
    assert shares == ["75 %", "25 %"]
    assert main.count('aria-current="step"') == 1
    assert "50 of 200" in main
    assert "500 captured requests: predictions differ by 2 %" in main
    assert 'href="/endpoints/diabetes@champion/comparison?format=html&amp;rollout=1"' in main
    assert "style=" not in page


async def test_buttons_are_for_operators_and_what_is_possible() -> None:
    endpoints = MemoryEndpoints(view())
    page = (await fetch(endpoints, PAGE)).text
    shown = re.findall(r'data-do="(\w+)"[^>]*?(hidden)?>', page)
    assert [name for name, hidden in shown if not hidden] == ["promote", "pause", "rollback"]
    page = (await fetch(endpoints, PAGE, Role.CALLER)).text
    assert "data-do=" not in page
    assert "<dialog" not in page


async def test_reasons_are_text() -> None:
    hostile = view(
        rollout=rollout(state=RolloutState.ROLLED_BACK, reason=SCRIPT),
        endpoint=endpoint(notice=SCRIPT),
    )
    for path in (PAGE, f"{PAGE}/now", "/"):
        answer = await fetch(MemoryEndpoints(hostile), path)
        assert answer.status_code == 200
        assert "&lt;img src=x" in answer.text, path
        assert "<img" not in answer.text, path


async def test_overview_shows_what_serves_what_comes_and_what_is_wrong() -> None:
    name = EndpointName("wine", "live")
    gone = steady(endpoint=endpoint(name, notice="the alias was deleted; version 1 serves on"))
    page = (await fetch(MemoryEndpoints(view(), gone), "/")).text
    wine, diabetes = re.findall(r'<tr class="endpoint" .*?</tr>', page, re.DOTALL)
    assert 'href="/dashboard/endpoints/diabetes@champion"' in diabetes
    assert "also /diabetes" in diabetes
    assert re.search(r"version 2 <span[^>]*>canary</span> <b>25 %", diabetes)
    assert "the alias was deleted; version 1 serves on" in wine
    assert "model-deployment endpoint set" in (await fetch(MemoryEndpoints(), "/")).text


async def test_endpoint_that_is_not_there_is_a_page() -> None:
    answer = await fetch(MemoryEndpoints(), PAGE)
    assert (answer.status_code, "<h1>" in answer.text) == (404, True)
    part = await fetch(MemoryEndpoints(), f"{PAGE}/now")
    assert (part.status_code, part.text[:19]) == (404, '<p class="problem">')
    assert (await fetch(MemoryEndpoints(), "/dashboard/endpoints/diabetes")).status_code == 404
