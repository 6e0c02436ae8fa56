"""How the dashboard looks: contrast, widths, and hostile texts that are shown and never obeyed."""

import json
import re
from pathlib import Path
from typing import Any

from tests.support.browser import Tab, expect
from tests.support.filled_registry import CORPUS, LONG
from tests.support.harness import Controller, Controllers
from tests.support.looks import faults
from tests.support.waiting import until_sync

FOREIGN = (Path(__file__).parent / "foreign.js").read_text()
PAGES = (
    "/",
    "/dashboard/registry",
    f"/dashboard/registry/{LONG}",
    "/dashboard/registry/stub",
    *(
        f"/dashboard/deployments/{LONG}-1?tab={tab}"
        for tab in ("overview", "predict", "quality", "inputs", "logs", "settings")
    ),
    "/dashboard/deployments/fails-1",
    "/dashboard/deployments/never-ready-1",
    "/dashboard/deployments/other-1?tab=predict",
    f"/dashboard/compare/{LONG}?versions=1,2",
    "/dashboard/deployments/nothing-1",
)
REPORTS = """document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`);
});"""


def scene(controller: Controller) -> None:
    """A deployment in each state, one of them with figures."""
    controller.deploy("other-1", idle_timeout=0.2)
    controller.post("/deploy/never-ready/1", 202, wait=0)
    controller.deploy("fails-1", status=502)
    for version in (1, 2):
        controller.deploy(f"{LONG}-{version}")
    for x in (*range(8), "much"):
        controller.call("POST", f"/{LONG}-1", json={"dataframe_records": [{"x": x}]})
    for rmse in (1.0, 2.0):
        body = {"metrics": {"rmse" + 60 * "e": rmse}, "n": 10}
        controller.post(f"/model/{LONG}-1/set_new_metrics", 201, body)
    controller.wait_for("other-1", "parked")


def count_captured(page: Any) -> int:
    """The number of pictures of captured columns."""
    page.reload()
    expect(page.locator("#columns")).not_to_contain_text("Loading")
    return int(page.locator("#columns svg").count())


def complete(page: Any) -> None:
    """Wait for the parts of a page, and open what can be opened."""
    for part in page.locator("[data-part]").all():
        expect(part).not_to_contain_text("Loading")
    if "tab=predict" in page.url and LONG in page.url:
        page.get_by_role("button", name="Predict").click()
        expect(page.locator("#outcome")).to_have_text("Answered")
    if page.locator("#charts").count() and LONG in page.url:
        expect(page.locator("#charts path.refused")).to_have_attribute("d", re.compile("M"))
    if page.locator("#columns").count():
        until_sync(lambda: count_captured(page) > 0, what="captured rows")
    if page.locator("[data-deploy]").count():
        page.locator("[data-deploy]").first.click()


def test_pages_have_contrast_and_fit_every_width(controllers: Controllers, tab: Tab) -> None:
    """In light and dark, with contrast for texts, fields and pictures; at no width does it overflow."""
    controller, page = controllers(TRIES=1, START_TIMEOUT=300).up(), tab.page
    scene(controller)
    found: list[str] = []
    for path in PAGES:
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(controller.url + path)
        complete(page)
        found += faults(page, path)
    assert found == [], "\n".join(found)


def sound(page: Any) -> None:
    """What is on a page came from us."""
    assert page.locator("main").count() == 1
    assert page.evaluate(FOREIGN) == []


def test_hostile_texts_are_shown_literally(controller: Controller, tab: Tab) -> None:
    """As names, descriptions, columns, values, categories and lines of the log."""
    page = tab.page
    page.add_init_script(REPORTS)
    for version in (1, 2):
        controller.deploy(f"corpus-{version}")
    page.goto(f"{controller.url}/dashboard/registry")
    assert " ".join(CORPUS) in page.locator("#models td .clip").all_text_contents()
    shown = page.locator("#models th").all_text_contents()
    for name in CORPUS:
        if not {"/", ":"} & {*name}:
            assert any(one.strip(" \n") == name[:120] for one in shown), name
    sound(page)

    page.goto(f"{controller.url}/dashboard/deployments/corpus-1?tab=predict")
    assert page.locator("#form label b").all_text_contents() == [*CORPUS]
    values = page.locator("#form [data-column]").evaluate_all("all => all.map((one) => one.value)")
    assert values == [*CORPUS]
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#outcome")).to_have_text("Answered")
    sent = (
        page.locator("#curl").text_content().partition("--data-raw '")[2][:-1].replace("'\\''", "'")
    )
    assert json.loads(sent) == {"dataframe_records": [{one: one for one in CORPUS}]}
    literal = page.locator("#python").text_content().split("\n")[2].removeprefix("body = ")
    assert json.loads(literal) == json.loads(sent)
    page.goto(f"{controller.url}/dashboard/deployments/corpus-1?tab=logs")
    log = page.locator("#lines")
    expect(log).to_contain_text("stub: listening")
    # What turns or hides a terminal's text stays out of logs.
    lines = [line for line in CORPUS if line.isprintable()]
    assert [line for line in lines if line not in log.text_content()] == []
    turned = dict(zip(CORPUS, CORPUS[::-1], strict=True))
    answer = controller.call("POST", "/corpus-1", json={"dataframe_records": [turned]})
    assert answer.status_code == 200, answer.text
    page.goto(f"{controller.url}/dashboard/deployments/corpus-1?tab=inputs")
    until_sync(lambda: count_captured(page) >= 2 * len(CORPUS), what="two captured rows")
    assert {*CORPUS} <= {*page.locator("#columns figcaption b").all_text_contents()}
    categories = [
        one.removesuffix("\u2026") for one in page.locator("#columns tbody th").all_text_contents()
    ]
    assert [one for one in CORPUS if one[:60] not in categories] == []
    sound(page)

    page.goto(f"{controller.url}/dashboard/compare/corpus?versions=1,2")
    assert {*CORPUS} <= {*page.locator("tbody th").all_text_contents()}
    sound(page)
    assert tab.trouble == []
