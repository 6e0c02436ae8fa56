"""A browser for the tests of a file, and a tab for each test."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import Tab, chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as it:
        yield it


@pytest.fixture
def tab(browser: Any) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(30_000)
    yield Tab(context.new_page())
    context.close()
