"""Debian's Chromium without a screen, driven by Playwright; every page is listened to."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class Tab:
    """A page, and what went wrong in it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        #: Dialogs of scripts, errors of scripts, and what the console calls an error.
        self.trouble: list[str] = []
        page.on("dialog", self._dialog)
        page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        page.on("console", self._console)

    def _dialog(self, dialog: Any) -> None:
        self.trouble.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.trouble.append(f"console: {message.text}")


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser, for tests without an event loop of their own."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        missing("Chromium is not installed (Debian: apt-get install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    # Its sandbox needs rights that root in a container often lacks.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def expect(target: Any) -> Any:
    """Wait for something to be true of a page, a locator or an answer."""
    from playwright.sync_api import expect as wait

    wait.set_options(timeout=30_000)
    return wait(target)


def missing(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"no browser to test with: {why}")
    pytest.skip(f"no browser to test with: {why}")
