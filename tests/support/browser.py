"""Debian's Chromium without a screen, driven by Playwright; every page is listened to."""

import asyncio
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.support.missing import missing

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
#: All pages of this machine in one process, and none made in advance: each takes half a second to begin.
_ONE_PROCESS = (
    "--process-per-site",
    "--renderer-process-limit=1",
    "--disable-features=SpareRendererForSitePerProcess,HttpsUpgrades,PaintHolding,OptimizationHints",
)

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


class Browser:
    """One browser for all tests of a process, which knows nothing any more of the test before."""

    def __init__(self, browser: Any) -> None:
        # Between its calls Playwright's loop seems to run, and no other could be run beside it.
        self._loop = asyncio.get_running_loop()
        self._context = browser.new_context(viewport={"width": 1280, "height": 800})
        self._context.set_default_timeout(30_000)
        # Keeps the process of the pages alive.
        self._first = self._context.new_page()
        self._first.route("**/*", lambda route: route.fulfill(body="", content_type="text/html"))
        self._first.goto("http://127.0.0.1/")
        self._session = self._context.new_cdp_session(self._first)

    @contextmanager
    def awake(self, awake: bool = True) -> Iterator[None]:
        """While it is used, or while other event loops may run."""
        asyncio._set_running_loop(self._loop if awake else None)
        try:
            yield
        finally:
            asyncio._set_running_loop(None if awake else self._loop)

    @contextmanager
    def tab(self) -> Iterator[Tab]:
        """A new page."""
        with self.awake():
            page = self._context.new_page()
            try:
                yield Tab(page)
            finally:
                page.close()
                everything = {"origin": "*", "storageTypes": "all"}
                self._session.send("Storage.clearDataForOrigin", everything)


@contextmanager
def chromium(arguments: Sequence[str] = ()) -> Iterator[Any]:
    """The browser, for tests without an event loop of their own."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        missing("Chromium is not installed (Debian: apt-get install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    # Its sandbox needs rights that root in a container often lacks.
    without = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=[*arguments, *without])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def shared_browser() -> Iterator[Browser]:
    """It, asleep until a test opens a tab."""
    with chromium(_ONE_PROCESS) as it:
        found = Browser(it)
        with found.awake(False):
            yield found


def expect(target: Any) -> Any:
    """Wait for something to be true of a page, a locator or an answer."""
    from playwright.sync_api import expect as wait

    wait.set_options(timeout=30_000)
    return wait(target)
