"""The dashboard in a real browser, as people use it."""

import re
import sqlite3
from contextlib import closing
from typing import Any

from tests.support.browser import Tab, expect
from tests.support.captured import captured_requests
from tests.support.filled_registry import SCRIPT
from tests.support.harness import Controller, Controllers
from tests.support.waiting import until_sync

#: Bytes of the first view, as they come over the line.
FIRST_VIEW = 60_000


def state(page: Any) -> Any:
    return page.locator("[data-live-cell=state] .badge")


def open_tab(page: Any, label: str) -> None:
    page.get_by_role("navigation", name="Deployment").get_by_role("link", name=label).click()
    expect(page.locator(".tabs [aria-current]")).to_have_text(label)


def test_deployment_is_deployed_used_and_undeployed(controllers: Controllers, tab: Tab) -> None:
    """Deploy, predict, make a report and read it, undeploy; and what fails says why."""
    controller, page = controllers(TRIES=1).up(), tab.page
    page.goto(controller.url)
    expect(page.get_by_text("Nothing is deployed")).to_be_visible()
    page.get_by_role("link", name="registry", exact=True).click()
    page.get_by_role("link", name="stub", exact=True).click()
    page.locator("[data-deploy='3']").click()
    page.locator("#deploy-advanced summary").click()
    page.get_by_label("Request validation").select_option("coerce")
    page.locator("#deploy-go").click()
    page.wait_for_url("**/dashboard/deployments/stub-3")
    expect(state(page)).to_have_text("ready")
    open_tab(page, "Logs and events")
    expect(page.locator("#lines")).to_contain_text("stub: listening")
    open_tab(page, "Predict")
    expect(page.locator("#curl")).to_contain_text('{"dataframe_records": [{"x": 1.5}]}')
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#outcome")).to_have_text("Answered")
    expect(page.locator("#result")).to_contain_text("stub-3")
    assert tab.trouble == []
    page.locator("[data-column=x]").fill("much")
    page.locator("[data-column=x]").press("Enter")
    expect(page.locator("#outcome")).to_contain_text("422")
    expect(page.locator(".wrong")).to_contain_text("expected double")
    tab.trouble.clear()  # the console calls every 422 an error
    open_tab(page, "Quality")
    page.get_by_role("button", name="Create report").click()
    expect(page.locator("#made-link")).to_be_focused()
    report = page.locator("#list").get_by_role("link", name="Open the report")
    assert report.get_attribute("href") == page.locator("#made-link").get_attribute("href")
    page.goto(controller.url + str(report.get_attribute("href")))
    expect(page.get_by_role("link", name="Compare with version 2")).to_be_visible()
    expect(page.get_by_text("How the verdict is decided")).to_be_visible()
    page.get_by_role("link", name="stub-3", exact=True).click()
    page.wait_for_url("**/dashboard/deployments/stub-3**")  # with its scripts
    page.get_by_role("button", name="Undeploy").click()
    page.get_by_role("button", name="Cancel").click()
    expect(state(page)).to_have_text("ready")
    page.get_by_role("button", name="Undeploy").click()
    page.locator("#confirm-yes").click()
    expect(state(page)).to_have_text("stopped")
    expect(page.locator("#undeploy")).to_be_hidden()
    assert [row["state"] for row in controller.get("/get_deployed_models", stopped=True)] == [
        "stopped"
    ]

    page.goto(f"{controller.url}/dashboard/registry/fails")
    page.locator("[data-deploy='1']").click()
    page.locator("#deploy-go").click()
    expect(page.locator("#trouble")).to_contain_text(
        "exited with status 7: stub: cannot load model"
    )
    expect(page.locator("#trouble")).to_contain_text("The last lines of its log say why")
    expect(page.locator("#lines")).to_contain_text("stub: cannot load model")
    assert tab.trouble == []


def test_versions_are_sorted_compared_and_followed(controller: Controller, tab: Tab) -> None:
    page = tab.page
    page.goto(f"{controller.url}/dashboard/registry/stub")
    expect(page.locator("tbody tr")).to_have_count(4)
    page.get_by_role("link", name="rmse").click()
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("rmse")
    compare = page.get_by_role("button", name="Compare")
    expect(compare).to_be_disabled()
    page.get_by_label("compare version 4").check()
    chosen = page.get_by_label("Versions", exact=True)
    expect(chosen).to_have_value("4")
    chosen.fill("4, 1")
    expect(page.get_by_label("compare version 1")).to_be_checked()
    compare.click()
    expect(page.locator("h1")).to_have_text("stub: versions 4 and 1")
    page.go_back()
    page.get_by_role("button", name="champion").click()
    dialog = page.get_by_role("dialog", name="Serve stub@champion?")
    dialog.get_by_role("button", name="Create endpoint").click()
    page.wait_for_url("**/dashboard/endpoints/stub@champion")
    assert controller.call("DELETE", "/endpoints/stub@champion").status_code == 204
    assert [told for told in tab.trouble if "404" not in told] == []


def test_hostile_values_are_shown_as_text(controller: Controller, tab: Tab) -> None:
    controller.deploy("hostile-1")
    page = tab.page
    page.goto(f"{controller.url}/dashboard/registry")
    expect(page.get_by_text(SCRIPT[:40]).first).to_be_visible()
    page.goto(f"{controller.url}/dashboard/deployments/hostile-1?tab=logs")
    expect(page.locator("#lines")).to_contain_text(SCRIPT)
    open_tab(page, "Predict")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#outcome")).to_have_text("Answered")
    assert str(2**60 + 1) in page.locator("#curl").inner_text()

    # The page shows what is captured when it is opened.
    until_sync(lambda: captured_requests(controller, "hostile-1"), timeout=20, what="the capture")
    open_tab(page, "Inputs")
    expect(page.locator("#columns th", has_text="</script>").first).to_be_visible()
    assert page.locator("main img, main b img, #columns script").count() == 0
    assert tab.trouble == []


def multiply(controller: Controller, number: int) -> None:
    """Have so many deployments of one that is at rest, which cost nothing but to be shown."""
    with closing(sqlite3.connect(controller.state_db)) as state, state:
        found = state.execute("SELECT name FROM pragma_table_info('deployments')")
        names = [name for (name,) in found if name not in ("id", "version")]
        listed = ", ".join(names)
        state.executemany(
            f"INSERT INTO deployments (version, {listed}) SELECT ?, {listed} FROM deployments LIMIT 1",
            [(version,) for version in range(2, number + 1)],
        )


def test_overview_of_fifty_deployments_stays_readable(controllers: Controllers, tab: Tab) -> None:
    controller = controllers(TRIES=1).up()
    controller.deploy("fails-1", status=502)
    controller.terminate()
    multiply(controller, 50)
    controller.up()
    page = tab.page
    sizes: list[int] = []

    def add_size(request: Any) -> None:
        if "events" not in request.url:
            sizes.append(request.sizes()["responseBodySize"])

    page.on("requestfinished", add_size)
    page.goto(controller.url)
    lines = page.locator("#attention li:visible")
    expect(lines).to_have_count(50)
    expect(lines.first.locator(".text")).to_contain_text("stub: cannot load model")
    expect(lines.last.locator(".since")).to_contain_text("since")
    page.wait_for_load_state("load")
    assert 0 < sum(sizes) < FIRST_VIEW
    page.get_by_label("Sort").select_option("name")
    rows = page.locator("#deployments tbody tr:visible")
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="Name").click()
    expect(rows.first.locator("a")).to_have_text("fails-50")
    assert page.url.endswith("/?sort=name&down=1")
    page.go_back()
    expect(rows.first.locator("a")).to_have_text("fails-1")
    assert tab.trouble == []


def test_page_reconnects_to_a_restarted_controller(controllers: Controllers, tab: Tab) -> None:
    controller, page = controllers().up(), tab.page
    controller.deploy("stub-1")
    page.goto(controller.url)
    row = page.locator("tr[data-name=stub-1]")
    expect(row).to_contain_text("ready")
    banner = page.locator("#banner")
    # A navigation that comes to nothing leaves the page as watchful as it was.
    page.route("**/nowhere", lambda route: route.fulfill(status=204))
    with page.expect_response("**/nowhere"):
        page.evaluate("location.href = '/nowhere'")
    controller.kill()
    expect(banner).to_contain_text("does not answer", timeout=15_000)
    controller.up()
    expect(banner).to_contain_text("is back")
    controller.deploy("stub-2")
    expect(page.locator("tr[data-name=stub-2]")).to_contain_text("ready")
    expect(row).to_contain_text("ready")
    expect(banner).to_be_hidden()
    assert all(re.search("ERR_|Failed to load resource", told) for told in tab.trouble)
