"""The dashboard as HTML: who sees what, how it is sent, and that nothing in it is anybody's markup."""

import json
import signal
from html.parser import HTMLParser
from typing import Any

import httpx

from tests.integration.harness import CALLER, Controller
from tests.integration.registry import SCRIPT
from tests.waiting import until_sync

PAGES = (
    "/",
    "/dashboard/registry",
    "/dashboard/registry/stub",
    "/dashboard/deployments/stub-1",
    "/dashboard/deployments/stub-1/charts?window=24h",
    "/dashboard/deployments/stub-1/reports",
    "/dashboard/compare/stub?versions=1,2",
)
#: What only operators may do.
BUTTONS = ("data-deploy=", 'id="undeploy"', 'id="again"', 'id="look"', 'id="lines"')


class Tags(HTMLParser):
    """The names of elements, and of attributes that a page must not have."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.inline: list[str] = []
        self.scripts: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.inline += [name for name, _ in attrs if name == "style" or name.startswith("on")]
        if tag == "script":
            self.scripts.append(dict(attrs))


def tags(page: str) -> Tags:
    found = Tags()
    found.feed(page)
    return found


def test_pages_allow_nothing_but_files_of_ours(controller: Controller) -> None:
    controller.deploy("stub-1")
    controller.deploy("stub-2")
    for path in PAGES:
        answer = controller.call("GET", path)
        assert answer.status_code == 200, (path, answer.text)
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "script-src 'self';" in policy
        assert answer.headers["x-frame-options"] == "DENY"
        found = tags(answer.text)
        assert not found.inline, path
        assert all("src" in script for script in found.scripts)
        assert controller.call("HEAD", path).status_code == 200


def test_files_are_sent_once(controller: Controller) -> None:
    answer = controller.call("GET", "/dashboard/static/style.css")
    assert answer.headers["content-type"].startswith("text/css")
    again = controller.call(
        "GET", "/dashboard/static/style.css", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    assert controller.call("GET", "/dashboard/static/nothing.css").status_code == 404
    assert controller.call("GET", "/dashboard/static/..%2Fpages.py").status_code == 400


def test_what_models_and_callers_say_is_text(controller: Controller) -> None:
    controller.deploy("hostile-1")
    sent = {SCRIPT: SCRIPT, "__proto__": "x", "n": 2**60 + 1}
    body = {"dataframe_records": [sent]}
    assert controller.call("POST", "/hostile-1", json=body).status_code == 200
    name = "/dashboard/deployments/hostile-1"
    until_sync(lambda: "captured: the newest" in controller.call("GET", f"{name}/columns").text)
    for path in ("/dashboard/registry", name, f"{name}/columns", "/dashboard/registry/hostile"):
        page = controller.call("GET", path).text
        assert "<img" not in page, path
        assert "alert(1)</script>" not in page, path
        assert not tags(page).inline, path
    page = controller.call("GET", name).text
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page
    assert str(2**60 + 1) in page  # not rounded


def test_errors_are_pages(controller: Controller) -> None:
    for path, status in (
        ("/dashboard/deployments/nothing-1", 404),
        ("/dashboard/deployments/nothing", 404),
        ("/dashboard/registry/nothing", 404),
        ("/dashboard/registry/%3Cb%3E", 422),
        ("/dashboard/compare/stub?versions=1", 422),
    ):
        answer = controller.call("GET", path)
        assert answer.status_code == status, path
        assert "<h1>" in answer.text
        assert "cannot" in answer.text
        assert "<b>" not in answer.text


def test_callers_see_no_button_they_may_not_use(guarded: Controller) -> None:
    guarded.deploy("stub-1")
    paths = ("/dashboard/registry/stub", "/dashboard/deployments/stub-1")
    for_operators = "".join(guarded.call("GET", path).text for path in paths)
    for_callers = "".join(guarded.call("GET", path, auth=CALLER).text for path in paths)
    assert [button for button in BUTTONS if button not in for_operators] == []
    assert [button for button in BUTTONS if button in for_callers] == []
    columns = guarded.call("GET", "/dashboard/deployments/stub-1/columns", auth=CALLER)
    assert columns.status_code == 403


def events(answer: httpx.Response) -> Any:
    """The changes that a viewer hears."""
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_a_viewer_hears_what_changes(guarded: Controller) -> None:
    """Also a caller; and a controller that ends does not wait for viewers."""
    client = httpx.Client(base_url=guarded.url, timeout=20, trust_env=False, auth=CALLER)
    with client, client.stream("GET", "/dashboard/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"
        heard = events(answer)
        first = next(heard)
        assert (first["names"], first["rows"]) == ([], {})
        assert "Free ports" in first["facts"]
        guarded.deploy("stub-1")
        states = set()
        for change in heard:
            html = change["rows"].get("stub-1", "")
            states |= {state for state in ("starting", "ready") if f'data-state="{state}"' in html}
            if "ready" in states:
                break
        guarded.undeploy("stub-1")
        assert any(change["names"] == [] for change in heard)
        guarded.send(signal.SIGTERM)
        assert list(heard) == []
        assert guarded.wait(timeout=10) == 0
