"""Debian's Chromium without a screen, driven by Playwright; every page is listened to."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.missing import missing

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


#: A person does not press a button within milliseconds of a page's first line, before its scripts
#: have come; a test does. Until the page is loaded it takes no clicks, and Playwright tries again.
LOADED_FIRST = """
const still = (inert) => { document.documentElement.inert = inert; };
new MutationObserver((_, observer) => {
  if (!document.documentElement) return;
  observer.disconnect();
  if (document.readyState !== "complete") still(true);
}).observe(document, { childList: true });
addEventListener("load", () => still(false));
"""


class Tab:
    """A page, and what went wrong in it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        page.add_init_script(LOADED_FIRST)
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
