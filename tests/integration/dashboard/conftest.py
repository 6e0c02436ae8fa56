"""A browser for all tests of a worker, and a tab for each of them."""

from collections.abc import Iterator

import pytest

from tests.support.browser import Browser, Tab, shared_browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with shared_browser() as it:
        yield it


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    with browser.tab() as it:
        yield it
