"""The dashboard as HTML: who sees what, how it is sent, and that nothing in it is anybody's markup."""

import json
import re
import signal
from contextlib import ExitStack
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from model_deployment.dashboard.deployment_tabs import Tab
from model_deployment.dashboard.hub import USER_PAGES
from tests.support.filled_registry import COMPARED, SCRIPT
from tests.support.harness import CALLER, OPERATOR, Controller, Controllers
from tests.support.waiting import until_sync

PAGES = (
    "/",
    "/dashboard/registry",
    "/dashboard/registry/stub",
    *(f"/dashboard/deployments/stub-1?tab={tab}" for tab in Tab),
    "/dashboard/deployments/stub-1/charts?window=24h",
    "/dashboard/deployments/stub-1/reports",
    "/dashboard/deployments/stub-2/uses",
    "/dashboard/compare/stub?versions=1,2",
    "/dashboard/endpoints/stub@champion",
    "/dashboard/endpoints/stub@champion/now",
)
#: What only operators may do.
BUTTONS = ("data-deploy=", 'id="undeploy"', 'id="again"', 'id="columns"', 'id="lines"')


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


def test_pages_allow_only_our_own_files(controller: Controller) -> None:
    controller.deploy("stub-1")
    controller.deploy("stub-2")
    assert controller.call("PUT", "/endpoints/stub@champion").status_code == 201
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
    assert controller.call("DELETE", "/endpoints/stub@champion").status_code == 204


def test_static_files_have_an_etag(controller: Controller) -> None:
    answer = controller.call("GET", "/dashboard/static/style.css")
    assert answer.headers["content-type"].startswith("text/css")
    again = controller.call(
        "GET", "/dashboard/static/style.css", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    assert controller.call("GET", "/dashboard/static/nothing.css").status_code == 404
    assert controller.call("GET", "/dashboard/static/..%2Fpages.py").status_code == 400


def test_texts_of_models_and_callers_are_escaped(controller: Controller) -> None:
    controller.deploy("hostile-1")
    sent = {SCRIPT: SCRIPT, "__proto__": "x", "n": 2**60 + 1}
    body = {"dataframe_records": [sent]}
    assert controller.call("POST", "/hostile-1", json=body).status_code == 200
    name = "/dashboard/deployments/hostile-1"
    until_sync(lambda: "captures: the newest" in controller.call("GET", f"{name}/columns").text)
    form = f"{name}?tab=predict"
    for path in ("/dashboard/registry", form, f"{name}/columns", "/dashboard/registry/hostile"):
        page = controller.call("GET", path).text
        assert "<img" not in page, path
        assert "alert(1)</script>" not in page, path
        assert not tags(page).inline, path
    page = controller.call("GET", form).text
    assert r"\u003c/script\u003e\u003cscript\u003ealert(1)" in page
    assert str(2**60 + 1) in page  # not rounded


def test_errors_are_pages(controller: Controller) -> None:
    for path, status in (
        ("/dashboard/deployments/nothing-1", 404),
        ("/dashboard/deployments/nothing", 404),
        ("/dashboard/registry/nothing", 404),
        ("/dashboard/registry/%3Cb%3E", 422),
        ("/dashboard/compare/stub?versions=1,1", 422),
    ):
        answer = controller.call("GET", path)
        assert answer.status_code == status, path
        assert "<h1>" in answer.text
        assert "cannot" in answer.text
        assert "<b>" not in answer.text


def test_buttons_are_only_for_users_who_may_use_them(guarded: Controller) -> None:
    guarded.deploy("stub-1")
    page = "/dashboard/deployments/stub-1?tab="
    paths = ("/dashboard/registry/stub", f"{page}logs", f"{page}inputs")
    for_operators = "".join(guarded.call("GET", path).text for path in paths)
    for_callers = "".join(guarded.call("GET", path, auth=CALLER).text for path in paths)
    assert [button for button in BUTTONS if button not in for_operators] == []
    assert [button for button in BUTTONS if button in for_callers] == []
    columns = guarded.call("GET", "/dashboard/deployments/stub-1/columns", auth=CALLER)
    assert columns.status_code == 403


def test_error_of_a_part_is_a_part(controller: Controller) -> None:
    for part in ("charts", "reports", "columns"):
        answer = controller.call("GET", f"/dashboard/deployments/nothing-1/{part}")
        assert answer.status_code == 404
        assert answer.text.startswith('<p class="problem">'), part


@pytest.mark.parametrize(
    "example",
    [
        {"dataframe_split": {"columns": ["x"], "data": [5]}},
        {"dataframe_split": {"columns": [["x"]], "data": [[5]]}},
    ],
)
def test_page_survives_a_malformed_example(controller: Controller, example: Any) -> None:
    controller.deploy("many-3")
    (file,) = controller.data.glob("models/many-3-*/model/serving_input_example.json")
    good = file.read_bytes()
    file.write_text(json.dumps(example))
    try:
        answer = controller.call("GET", "/dashboard/deployments/many-3?tab=predict")
    finally:
        file.write_bytes(good)
    assert answer.status_code == 200
    assert '"name": "x"' in answer.text


def test_compare_shows_versions_that_were_never_deployed(controller: Controller) -> None:
    """Which of them to deploy is what is asked most."""
    controller.deploy(f"{COMPARED}-1")
    versions = controller.call("GET", f"/dashboard/registry/{COMPARED}").text
    assert versions.count('name="version"') == 4
    path = f"/dashboard/compare/{COMPARED}?versions="

    def compared() -> str:
        """A registry that is slow to answer is told of instead."""
        page = controller.call("GET", f"{path}1,4,2").text
        assert "Nothing is known from the registry" not in page, page
        return page

    page = until_sync(compared, timeout=60, what="the versions as the registry has them")
    assert page.count("Never deployed") == 2
    assert f"<h2>{COMPARED}-4</h2>" in page
    assert '<td class="num">1.5</td>' in page  # the metric of its run
    # The files of a version that is not deployed are read as well.
    assert '<td class="num">double</td><td class="num">double</td><td class="num">double' in page
    answer = controller.call("GET", f"{path}1,9")
    assert (
        answer.status_code,
        f"has no version 9 of {COMPARED}, which has versions 1 to 4" in answer.text,
    ) == (404, True)


def test_deploy_form_shows_defaults(controllers: Controllers) -> None:
    controller = controllers(
        TRIES=1,
        CAPTURE_RATE=0.25,
        RETENTION_DAYS=7,
        CAPTURE_HASH="name,street",
        IDLE_TIMEOUT=90,
        MAX_CAPTURE_BYTES=4096,
        START_METHOD="serve",
    ).up()
    page = controller.call("GET", "/dashboard/registry/stub").text
    fields = dict(re.findall('name="([a-z_]+)" [^>]*placeholder="([^"]*)"', page))
    assert fields == {
        "idle_timeout": "90",
        "workers": "1",
        "replicas": "1",
        "threads": "auto",
        "memory_limit": "auto",
        "cpu_limit": "auto",
        "batch_max_rows": "auto",
        "capture_rate": "0.25",
        "max_capture_bytes": "4096",
        "retention_days": "7",
        "capture_exclude": "none; separate with commas",
        "capture_hash": "name, street; separate with commas",
    }
    assert re.findall('<option value="">([^<]*)', page) == [
        "default: local",
        "default: serve",
        "default: strict",
    ]
    controller.deploy("no-mlmodel-1", status=502)
    page = controller.call("GET", "/dashboard/deployments/no-mlmodel-1?tab=predict").text
    assert "there is no MLmodel file" in page
    assert '<div id="predict-tab" hidden>' in page  # nothing is known that could be asked
    charts = controller.call("GET", "/dashboard/deployments/no-mlmodel-1/charts").text
    assert "No requests" in charts
    assert "?tab=predict" not in charts
    assert '<a href="/dashboard/registry/no-mlmodel#v1">' in page
    assert '<tr id="v1"' in controller.call("GET", "/dashboard/registry/no-mlmodel").text
    row = re.search("<tr data-name=.*?</tr>", controller.call("GET", "/").text, re.DOTALL)
    assert row is not None
    assert 'class="reason clip" title="cannot use' in row[0]
    assert re.search(r'data-cell="uptime"[^>]*data-sort="-1000000000000.0"', row[0])


def test_idle_deployment_suggests_a_request(controller: Controller) -> None:
    controller.deploy("many-77")
    charts = "/dashboard/deployments/many-77/charts?window=15m"
    assert "No requests in the last 15m." in (idle := controller.call("GET", charts).text)
    assert '<a href="?tab=predict">' in idle
    controller.predict("many-77", 1)
    assert "data-chart=" in controller.call("GET", charts).text


def test_log_has_an_etag(controller: Controller) -> None:
    controller.deploy("stub-2")
    path = "/model/stub-2/logs"

    def is_known() -> bool:
        tag = controller.call("GET", path).headers["etag"]
        again = controller.call("GET", path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["cache-control"] == "no-store"
        return True

    until_sync(is_known, what="a log that nobody writes to")
    other = controller.call("GET", path, headers={"If-None-Match": '"other"'})
    assert "stub: listening" in other.text


def events(answer: httpx.Response) -> Any:
    """The changes that a viewer hears."""
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_stream_sends_changes(guarded: Controller) -> None:
    """Also a caller; and a controller that ends does not wait for viewers."""
    client = httpx.Client(
        base_url=guarded.url, timeout=20, trust_env=False, verify=False, auth=CALLER
    )
    with client, client.stream("GET", "/dashboard/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"
        heard = events(answer)
        first = next(heard)
        assert (first["names"], first["rows"]) == ([], {})
        assert "Free ports" in first["facts"]
        guarded.deploy("stub-1")
        lines: list[str] = []
        for change in heard:
            sent = change["rows"].get("stub-1", {})
            if isinstance(sent, str):
                lines = sent.split("\n")
            else:  # a row that is known: the lines that differ
                for place, line in sent.items():
                    lines[int(place)] = line
            if any('data-state="ready"' in line for line in lines):
                break
        guarded.undeploy("stub-1")
        assert any(change["names"] == [] for change in heard)
        guarded.send(signal.SIGTERM)
        assert list(heard) == []
        assert guarded.wait(timeout=10) == 0


def test_stream_begins_with_everything(controller: Controller) -> None:
    controller.deploy("stub-1")
    client = httpx.Client(base_url=controller.url, timeout=20, trust_env=False, verify=False)
    with client, client.stream("GET", "/dashboard/events") as answer:
        first = next(events(answer))
        assert (first["names"], [*first["rows"]]) == (["stub-1"], ["stub-1"])


def test_live_pages_are_limited(guarded: Controller) -> None:
    stream = "/dashboard/events"
    limits = httpx.Limits(max_connections=None)

    def free(auth: tuple[str, str]) -> bool:
        with (
            httpx.Client(base_url=guarded.url, trust_env=False, verify=False, auth=auth) as client,
            client.stream("GET", stream) as answer,
        ):
            return answer.status_code == 200

    with ExitStack() as stack:
        client = httpx.Client(
            base_url=guarded.url, trust_env=False, verify=False, auth=CALLER, limits=limits
        )
        stack.enter_context(client)
        for _ in range(USER_PAGES):
            answer = stack.enter_context(client.stream("GET", stream))
            assert answer.status_code == 200

        refused = guarded.call("GET", stream, auth=CALLER)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
        assert "this user has too many dashboard pages open" in refused.text
        assert free(OPERATOR)

    until_sync(lambda: free(CALLER), what="a place for another page")
    cross = guarded.call("GET", stream, headers={"Sec-Fetch-Site": "cross-site"})
    assert cross.status_code == 403
