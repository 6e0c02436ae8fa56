"""From an answer "Model failed" to its exception, and from there to the line in the log."""

from datetime import UTC, datetime, timedelta

from tests.support.browser import Tab, expect
from tests.support.filled_registry import SCRIPT
from tests.support.harness import CALLER, OPERATOR, Controller
from tests.support.waiting import until_sync


def test_a_failed_prediction_leads_to_its_exception_and_its_log(
    controller: Controller, tab: Tab
) -> None:
    controller.deploy("raises-1")
    page = tab.page
    pages = f"{controller.url}/dashboard/deployments/raises-1"
    page.goto(f"{pages}?tab=predict")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#outcome")).to_contain_text("502")
    expect(page.locator("#cause .raised")).to_have_text(f"ValueError: could not scale {SCRIPT}")
    expect(page.locator("#cause pre")).to_contain_text("line 12, in predict")
    tab.trouble.clear()  # the console calls every 502 an error
    page.locator("#cause").get_by_role("link", name="Log").click()
    page.wait_for_url("**tab=logs**")
    # The request's message is marked, and its traceback is with it.
    expect(page.locator("#lines mark")).to_have_count(1)
    expect(page.locator("#lines .line.error")).to_have_count(4)
    page.get_by_label("Search").fill("nothing like this")
    expect(page.locator("#lines")).to_have_text("No line of the log is like this.")
    page.get_by_label("Search").fill("STUB:")
    page.locator("[name=level]").select_option("warning")
    expect(page.locator("#lines")).to_have_text("No line of the log is like this.")
    page.locator("[name=level]").select_option("")
    expect(page.locator("#lines")).to_contain_text("stub: listening")
    assert "search=STUB" in page.url
    page.goto(pages)
    error = page.locator("#errors article")
    expect(error).to_have_count(1)
    expect(error).to_contain_text("answered 502")
    error.get_by_text("Traceback", exact=True).click()
    expect(error.locator("pre")).to_contain_text("return scale(row)")
    # An hour ago it failed nothing.
    hour = datetime.now(UTC) - timedelta(hours=1)
    since, until = (f"{one:%Y-%m-%dT%H:%M}Z" for one in (hour, hour + timedelta(minutes=1)))
    page.goto(f"{pages}?tab=logs&since={since}&until={until}")
    expect(page.locator("#errors")).to_have_text("The model has failed no prediction.")
    expect(page.locator("#errors-range")).to_contain_text("show the last 24 hours")
    assert tab.trouble == []


def test_earlier_launches_and_events_are_chosen(controller: Controller, tab: Tab) -> None:
    controller.deploy("many-75")
    controller.undeploy("many-75")
    controller.deploy("many-75")
    page = tab.page
    page.goto(f"{controller.url}/dashboard/deployments/many-75?tab=logs")
    launch = page.locator("[name=launch]")
    expect(launch.locator("option").nth(2)).to_be_attached()
    newest = page.locator("#lines").text_content()
    launch.select_option(index=2)
    expect(page.locator("#lines")).not_to_have_text(newest)
    expect(page.locator("#lines")).to_contain_text("stub: listening")
    page.locator("[name=kind]").select_option("changes")
    page.get_by_label("Filter").fill("undeployed")
    states = page.locator("#events tbody td:nth-child(2)")
    expect(states.nth(1)).to_have_text("stopping")
    assert {*states.all_text_contents()} == {"stopping", "stopped"}
    expect(page.locator("#events-shown")).to_contain_text(" of ")
    assert tab.trouble == []


def test_callers_see_what_failed_but_no_input_of_others(guarded: Controller) -> None:
    guarded.deploy("raises-1")
    answer = guarded.predict("raises-1", 1)
    assert (answer.status_code, SCRIPT in answer.text) == (502, False)
    request_id = answer.headers["x-request-id"]
    errors = "/model/raises-1/errors"

    def known() -> bool:
        return bool(guarded.get(errors, request_id=request_id))

    until_sync(known, what="the error in the store")
    (found,) = guarded.get(errors)
    assert (found["exception"], found["count"]) == ("ValueError", 1)
    assert (found["request_ids"], SCRIPT in found["message"]) == ([request_id], True)
    assert "line 12" in found["traceback"]
    guarded.user = CALLER
    (found,) = guarded.get(errors)
    assert (found["exception"], found["message"]) == ("ValueError", "")
    assert (found["request_ids"], found["traceback"]) == ([], None)
    guarded.user = OPERATOR
    guarded.call("DELETE", "/model/raises-1/captures", params={"request_id": request_id})
    assert guarded.get(errors) == []
