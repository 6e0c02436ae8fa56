"""The page of a deployment as people use it: charts that are looked into, and rows that are predicted."""

import json
import re
from pathlib import Path
from typing import Any

from tests.support.browser import Tab, expect
from tests.support.harness import Controller


def test_charts_are_read_by_keys_and_pointer(controller: Controller, tab: Tab) -> None:
    """A range that is looked into is in the address, and Back leaves it."""
    controller.deploy("stub-1")
    for x in (1, 2, "much"):
        controller.call("POST", "/stub-1", json={"dataframe_records": [{"x": x}]})
    page = tab.page
    page.goto(f"{controller.url}/dashboard/deployments/stub-1?tab=overview")
    picture = page.locator("#charts svg").first
    legends = page.locator("#charts .legend")
    picture.focus()
    page.keyboard.press("End")
    expect(picture).to_have_attribute("aria-valuetext", re.compile(r"caller errors \d+ answered"))
    expect(legends.nth(1)).to_contain_text(re.compile(r"\d\d:\d\d\u2013\d\d:\d\d"))
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_url("**since=*until=*")
    page.reload()
    expect(page.locator("#unzoom")).to_be_visible()
    expect(picture).to_have_attribute("aria-valuemax", "1")
    page.go_back()
    expect(page.locator("#unzoom")).to_be_hidden()
    expect(picture).not_to_have_attribute("aria-valuemax", "1")
    page.locator("body").press("Escape")
    expect(legends.first).not_to_contain_text(":")
    box = picture.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(legends.first).to_contain_text(":")
    page.get_by_label("Time zone").select_option("local")
    page.reload()
    expect(page.get_by_label("Time zone")).to_have_value("local")
    assert tab.trouble == []


def saved(page: Any, kind: str) -> str:
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Download {kind}").click()
    return Path(download.value.path()).read_text()


def test_rows_are_predicted_together(controller: Controller, tab: Tab) -> None:
    """From fields, JSON and CSV; an error is shown at its cell, and the answer beside its inputs."""
    controller.deploy("stub-1")
    page = tab.page
    page.goto(f"{controller.url}/dashboard/deployments/stub-1?tab=predict")
    page.locator("[data-column=x]").fill("12345678901234567890.5")
    page.get_by_role("button", name="Add a row").click()
    second = page.get_by_label("x, row 2")
    expect(second).to_be_focused()
    second.fill("much")
    second.press("Enter")
    expect(page.locator("#outcome")).to_contain_text("422 Invalid request: 1 value does not fit")
    expect(page.locator("[aria-invalid=true]")).to_have_attribute("data-row", "1")
    expect(second).to_be_focused()
    tab.trouble.clear()  # the console calls every 422 an error
    second.fill("2")
    second.press("Enter")
    expect(page.locator("#outcome")).to_have_text("Answered")
    lines = saved(page, "CSV").splitlines()
    assert (len(lines), lines[0].split(",")[0]) == (3, "x")
    assert lines[1].startswith("12345678901234567890.5,")
    assert [record["x"] for record in json.loads(saved(page, "JSON"))] == [
        12345678901234567890.5,
        2,
    ]
    page.get_by_label("JSON or CSV").check()
    assert json.loads(page.locator("#body").input_value())["dataframe_records"][1] == {"x": 2}
    page.locator("#body").fill('[{"x": 1}, {"x": 2}, {"x": 3}]')
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#answer-table tbody tr")).to_have_count(3)
    page.locator("#body").fill("x\n1\n2\n3\n")
    expect(page.locator("#curl")).to_contain_text("text/csv")
    page.get_by_label("Fields").check()
    expect(page.get_by_label("x, row 3")).to_have_value("3")
    expect(page.locator("#client")).to_contain_text('client.predict("stub-1", data)')
    assert tab.trouble == []
