"""Errors of any path: pages for people who came with a browser, problem documents for programs."""

import html

from tests.integration.dashboard.test_pages import tags
from tests.support.harness import CALLER, OPERATOR, Controller


def test_errors_anywhere_are_pages_for_browsers(guarded: Controller) -> None:
    """With a way back; programs and scripts of pages get the problem document."""
    guarded.deploy("stub-1")
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path, auth, status in (
        ("/dashboard/nowhere", OPERATOR, 404),
        ("/nowhere/at/all", OPERATOR, 404),
        ("/model/nothing-1", OPERATOR, 404),
        ("/dashboard/deployments/stub-1/columns", CALLER, 403),
    ):
        page = guarded.call("GET", path, auth=auth, headers=browser)
        assert page.status_code == status, path
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert "<h1>" in page.text
        assert 'href="/dashboard/registry"' in page.text
        assert not tags(page.text).inline
        problem = guarded.call("GET", path, auth=auth)
        assert problem.status_code == status
        assert problem.headers["content-type"] == "application/problem+json"
        assert problem.json()["detail"] in html.unescape(page.text)
    # A proxy answers these itself.
    for path, auth, status in (("/", ("ann", "wrong"), 401), ("/stub-1", OPERATOR, 405)):
        page = guarded.call("GET", path, auth=auth, headers=browser)
        assert (page.status_code, '<a href="/">' in page.text) == (status, True)
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        problem = guarded.call("GET", path, auth=auth)
        assert problem.json()["detail"] in html.unescape(page.text)
    docs = guarded.call("GET", "/docs").text
    assert '<a href="/">' in docs
    assert "dark-mode" in docs
