"""Pages that stay open: what is told when the controller hangs or refuses, and what stays where it is."""

import os
import re
import signal
from typing import Any

from tests.support.browser import Tab, expect
from tests.support.harness import Controller
from tests.support.waiting import until_sync

#: Keeps the streams of a page, so that a test can let them hear something.
STREAMS = """window.streams = [];
window.EventSource = class extends EventSource {
  constructor(address) { super(address); window.streams.push(this); }
};"""
#: A controller that says nothing but that it is alive, for longer than a page is patient.
ALIVE = """async () => {
  const before = window.streams.length;
  document.body.dataset.maxSilence = "1000";
  for (let beat = 0; beat < 9; beat += 1) {
    window.streams.at(-1).dispatchEvent(new MessageEvent("alive", { data: "1" }));
    await new Promise((done) => setTimeout(done, 250));
  }
  return window.streams.length - before;
}"""
#: Notes, at each frame, what may not be seen while a model wakes.
WATCH = """() => {
  const named = (id) => document.getElementById(id);
  const [form, ask, cannot, woken] = ["form", "ask", "cannot", "woken"].map(named);
  const top = () => form.getBoundingClientRect().top + scrollY;
  const begin = top();
  window.seen = { moved: 0, dead: false, cannot: false, woken: false, states: [] };
  const look = () => {
    const { state } = document.getElementById("page").dataset;
    if (window.seen.states.at(-1) !== state) window.seen.states.push(state);
    window.seen.moved = Math.max(window.seen.moved, Math.abs(top() - begin));
    window.seen.dead ||= ask.disabled && ask.textContent === "Predict";
    window.seen.cannot ||= !cannot.hidden;
    window.seen.woken ||= !woken.hidden;
    requestAnimationFrame(look);
  };
  look();
}"""


def test_hanging_controller_is_shown(controller: Controller, tab: Tab) -> None:
    page = tab.page
    page.add_init_script(STREAMS)
    page.goto(controller.url)
    until_sync(lambda: page.evaluate("window.streams.at(-1)?.readyState === 1"), what="a stream")
    assert page.evaluate(ALIVE) == 0, "it reconnected although the controller is alive"
    banner = page.locator("#banner")
    expect(banner).to_be_hidden()
    os.kill(controller.pid, signal.SIGSTOP)
    try:
        expect(banner).to_contain_text("does not answer", timeout=6000)
        page.evaluate("delete document.body.dataset.maxSilence")
    finally:
        os.kill(controller.pid, signal.SIGCONT)
    expect(banner).to_contain_text("is back")
    assert tab.trouble == []


def test_refused_page_says_why(controller: Controller, tab: Tab) -> None:
    page, status = tab.page, 429

    def answer(route: Any) -> None:
        if status == 200:
            route.continue_()
        else:
            route.fulfill(status=status, json={})

    page.route(re.compile("/dashboard/events"), answer)
    page.goto(controller.url)
    banner = page.locator("#banner")
    expect(banner).to_contain_text("Too many dashboard pages are open")
    status = 502
    expect(banner).to_contain_text("does not answer")
    status = 200
    expect(banner).to_contain_text("is back")
    status = 401
    page.goto(f"{controller.url}/dashboard/registry")
    expect(banner).to_contain_text("signed out")


def test_parked_model_is_started_from_its_form(controller: Controller, tab: Tab) -> None:
    page = tab.page
    controller.deploy("slow-start-1", idle_timeout=0.4)
    controller.wait_for("slow-start-1", "parked")
    page.goto(f"{controller.url}/dashboard/deployments/slow-start-1?tab=predict")
    note = page.get_by_text("The next request starts it")
    expect(note).to_be_visible()
    page.evaluate(WATCH)
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#outcome")).to_have_text("Answered")
    expect(note).to_be_visible()  # nobody asks again
    seen = page.evaluate("window.seen")
    assert "starting" in seen["states"], seen
    assert seen["woken"], seen
    assert (seen["dead"], seen["cannot"]) == (False, False), seen
    assert seen["moved"] <= 2, seen
    assert tab.trouble == []


def test_parts_show_the_newest_answer(controller: Controller, tab: Tab) -> None:
    page = tab.page
    controller.deploy("stub-1")
    assert controller.predict("stub-1").status_code == 200
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    whole = (
        "<!doctype html><html><main id='main'><p>cannot read the document store</p></main></html>"
    )
    page.route(
        "**/reports", lambda route: route.fulfill(status=503, body=whole, content_type="text/html")
    )
    page.route("**/charts?window=24h", hold)
    page.goto(f"{controller.url}/dashboard/deployments/stub-1?tab=quality")
    expect(page.locator("#metrics .problem")).to_have_text(
        "The answer is 503: cannot read the document store"
    )
    assert page.locator("main").count() == 1
    page.goto(f"{controller.url}/dashboard/deployments/stub-1")
    charts = page.locator("#charts")
    expect(charts.locator("figure").first).to_be_visible()
    page.locator("#window").select_option("24h")
    until_sync(lambda: held or page.wait_for_timeout(20), what="the slow chart")
    page.route(
        "**/charts?window=15m",
        lambda route: route.fulfill(body="<p>newer</p>", content_type="text/html"),
    )
    page.locator("#window").select_option("15m")
    expect(charts).to_have_text("newer")
    with page.expect_event("requestfinished", lambda asked: "24h" in asked.url):
        held[0].continue_()
    page.evaluate("() => new Promise((done) => setTimeout(done, 100))")
    expect(charts).to_have_text("newer")


def test_registry_pages_are_live(controller: Controller, tab: Tab) -> None:
    """In the list, and beneath a form that somebody fills in."""
    page = tab.page
    page.goto(f"{controller.url}/dashboard/registry")
    cell = page.locator("[data-deployed=stub]")
    expect(cell).to_have_text(re.compile("^\\s*\u2013\\s*$"))
    controller.deploy("stub-1")
    expect(cell).to_have_text(re.compile("1\\s+ready"))
    controller.undeploy("stub-1")
    expect(cell.locator(".badge")).to_have_count(0)
    for version in range(101, 108):
        controller.deploy(f"many-{version}", wait=0, status=202)
    expect(page.locator("[data-deployed=many]")).to_contain_text("and 2 more")

    page.goto(f"{controller.url}/dashboard/registry/stub")
    page.locator("[data-deploy='3']").click()
    page.locator("#deploy-advanced summary").click()
    page.locator("[name=workers]").fill("5")
    page.evaluate("window.same = true")
    controller.deploy("stub-3")
    expect(page.locator("tr[data-live=stub-3] .badge")).to_have_text("ready")
    assert page.locator("[name=workers]").input_value() == "5"
    page.locator("#deploy-cancel").click()
    expect(page.locator("tr[data-live=stub-3]").get_by_role("link", name="Open")).to_be_visible()
    assert page.evaluate("window.same") is None
    page.locator("[data-deploy='2']").click()
    page.locator("#deploy-advanced summary").click()
    page.locator("[name=workers]").fill("5")
    page.locator("#deploy-cancel").click()
    page.locator("[data-deploy='1']").click()
    assert page.locator("[name=workers]").input_value() == ""
    assert tab.trouble == []


def test_focus_moves_when_its_button_disappears(controller: Controller, tab: Tab) -> None:
    page = tab.page
    controller.deploy("stub-1")
    page.goto(f"{controller.url}/dashboard/deployments/stub-1")
    page.get_by_role("button", name="Undeploy").click()
    page.locator("#confirm-yes").click()
    expect(page.locator("#again")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#undeploy")).to_be_focused()
    expect(page.locator("[data-live-cell=state] .badge")).to_have_text("ready")
    assert tab.trouble == []
