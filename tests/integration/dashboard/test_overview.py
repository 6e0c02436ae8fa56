"""The overview of a hundred models and three hundred parked versions: order, filters, keyboard, phone."""

from collections.abc import Iterator
from typing import Any

import pytest

from model_deployment.core.domain import State
from tests.support.browser import Tab, expect
from tests.support.crowd import TROUBLE, Crowd, crowd
from tests.support.dashboard_app import served
from tests.support.endpoint_views import MemoryEndpoints, view

#: Pixels of the tallest row on a phone: name and state, and two lines of figures.
TALLEST = 90


@pytest.fixture
def many() -> Crowd:
    found = crowd()
    found.endpoints = [view()]
    return found


@pytest.fixture
def url(many: Crowd) -> Iterator[str]:
    many.passes()
    with served(MemoryEndpoints(), crowd=many) as address:
        yield address


def texts(page: Any, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def test_trouble_is_on_top_and_the_parked_fold(url: str, tab: Tab) -> None:
    page = tab.page
    page.goto(url)
    expect(page).to_have_title("(3) Overview · model_deployment")
    assert texts(page, "#attention a.name") == ["broken-1", "loops-3", "roots-1"]
    expect(page.locator("#attention")).to_contain_text(TROUBLE)
    expect(page.locator("#attention li").first).to_contain_text("(17 min)")
    assert texts(page, "#counts a:visible") == [
        "403 deployments", "3 need attention", "1 failed", "2 starting", "100 ready", "300 parked",
        "1 endpoint",
    ]  # fmt: skip
    expect(page.locator("#facts")).to_contain_text("of 16.0 GB; models take 3.0 GB")
    expect(page.locator(".works")).to_have_text("✓ Controller, document store and registry work.")
    expect(page.locator(".unknown")).to_be_hidden()
    rows = page.locator("#deployments tbody tr:visible")
    fold = page.get_by_role("button", name="nightly: 300 parked versions")
    # What is on top is not below once more; 300 parked versions are one line.
    assert (
        rows.count() == 99 + 1 + 1 + 2
    )  # ready, starting, an endpoint; heading of a model and the fold
    fold.click()
    expect(page.locator("tr[data-name=nightly-1]")).to_be_visible()
    assert page.url.endswith("/?open=nightly")
    page.reload()
    expect(page.locator("tr[data-name=nightly-300]")).to_be_visible()
    assert tab.trouble == []


def test_filters_are_links_and_back_undoes_them(url: str, many: Crowd, tab: Tab) -> None:
    page = tab.page
    page.goto(url)
    page.get_by_role("link", name="2 starting").click()
    assert page.url.endswith("/?state=starting")
    assert texts(page, "#attention li:visible a.name") == ["loops-3"]
    assert texts(page, "#deployments tr:visible a.name") == ["late-1"]
    page.keyboard.press("/")
    page.keyboard.type("loops")
    expect(page.locator("#deployments")).to_be_hidden()
    assert page.url.endswith("/?q=loops&state=starting")
    # Somebody else sees the same at this address, and what becomes ready leaves it.
    page.goto(page.url)
    assert texts(page, "#attention li:visible a.name") == ["loops-3"]
    many.change("loops-3", State.READY)
    expect(page.get_by_text("Nothing matches.")).to_be_visible()
    expect(page).to_have_title("(2) Overview · model_deployment")
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_role("link", name="101 ready")).to_be_visible()
    page.go_back()
    expect(page.get_by_text("Nothing matches.")).to_be_visible()
    assert tab.trouble == []


def test_keyboard_and_live_rows(url: str, many: Crowd, tab: Tab) -> None:
    page = tab.page
    page.goto(url)
    expect(page.locator("#attention li")).to_have_count(3)
    for key in ("j", "ArrowDown", "j", "j", "k"):
        page.keyboard.press(key)
    focused = page.locator(":focus")
    expect(focused).to_have_text("roots-1")
    page.get_by_role("link", name="model-5-1").focus()
    at = focused.evaluate("one => one.getBoundingClientRect().top")
    # A model above it fails: its row goes to the top, and the focus stays where it is on the screen.
    many.change("model-3-1", State.FAILED, reason=TROUBLE)
    expect(page.locator("#attention li")).to_have_count(4)
    expect(focused).to_have_text("model-5-1")
    assert abs(focused.evaluate("one => one.getBoundingClientRect().top") - at) < 3
    many.change("model-5-1", State.FAILED, reason=TROUBLE)
    expect(page.locator("#attention li")).to_have_count(5)
    expect(focused).to_have_text("model-5-1")
    assert tab.trouble == []


def test_phone_shows_short_rows_without_scrolling_sideways(url: str, tab: Tab) -> None:
    page = tab.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{url}/?open=nightly")
    expect(page.locator("tr[data-name=nightly-300]")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    heights = page.locator("#deployments tr[data-state]:visible").evaluate_all(
        "rows => rows.map((row) => row.getBoundingClientRect().height)"
    )
    assert len(heights) == 400
    assert max(heights) <= TALLEST
    assert sum(heights) / len(heights) < 45
    assert tab.trouble == []
