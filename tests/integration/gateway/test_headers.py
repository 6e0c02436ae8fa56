"""Headers in both directions, and the access log."""

import json
from collections import Counter

import pytest

from tests.integration.gateway.conftest import Gateways
from tests.support.echo_server import Echo
from tests.support.nginx_gateway import AS, USERS, Gateway, basic
from tests.support.raw_requests import head, send, statuses
from tests.support.stubs import Answer
from tests.support.tools import PROBLEM
from tests.support.waiting import until_sync

ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


def once(answer: Answer) -> dict[str, str]:
    """The headers of an answer; none of them may be there twice."""
    count = Counter(name.lower() for name, _ in answer.headers)
    assert [name for name, times in count.items() if times > 1] == []
    return {name.lower(): value for name, value in answer.headers}


@pytest.mark.parametrize(
    ("status", "method", "path", "who", "more"),
    [
        (200, "GET", "/health", None, {}),
        (200, "POST", "/m-1", "caller", {}),
        (400, "GET", "/health/%2e", "caller", {}),
        (401, "GET", "/version", None, {}),
        (403, "POST", "/deploy/m/1", "caller", {}),
        (404, "GET", "/nowhere/else", "caller", {}),
        (405, "GET", "/m-1", "caller", {}),
        (413, "POST", "/m-1", "caller", {"Content-Length": "99999999"}),
        (431, "GET", "/health", None, {"X-A": "v" * 9000}),
    ],
)
def test_every_answer_is_armoured(
    gateway: Gateway, status: int, method: str, path: str, who: str | None, more: dict[str, str]
) -> None:
    named = {"X-Request-Id": "mine", **(AS[who] if who else {}), **more}
    answer = gateway.ask(method, path, named)
    headers = once(answer)
    assert answer.status == status
    assert {name: headers[name] for name in ALWAYS} == ALWAYS
    assert headers["x-request-id"] == "mine"
    assert headers["server"] == "nginx"
    assert "strict-transport-security" not in headers
    if status != 200:
        assert headers["content-type"] == PROBLEM
        assert json.loads(answer.body)["status"] == status


async def test_what_is_no_request_is_armoured(gateway: Gateway) -> None:
    requests = {b"\x80\r\n\r\n": 400, head("GET", "/%zz"): 400, head("GET", "/" + "a" * 9000): 414}
    for request, status in requests.items():
        answer = await send(gateway, request)
        assert statuses(answer) == [status]
        lines = answer.partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")
        assert {f"{name}: {value.lower()}" for name, value in ALWAYS.items()} <= {*lines}
        assert f"content-type: {PROBLEM}" in lines
        assert sum(line.startswith("x-request-id: ") for line in lines) == 1


def test_the_controllers_own_headers_come_first(gateway: Gateway) -> None:
    own = {
        "Content-Security-Policy": "default-src 'self'",
        "X-Frame-Options": "SAMEORIGIN",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "max-age=5",
        "X-Content-Type-Options": "nosniff",
        "X-Request-Id": "mine",
    }
    do = json.dumps({"status": 422, "content-type": PROBLEM, **own})
    answer = gateway.ask("POST", "/m-1", {**AS["caller"], "X-Request-Id": "mine", "X-Do": do})
    headers = once(answer)
    assert answer.status == 422
    assert {name: headers[name.lower()] for name in own} == own
    assert json.loads(answer.body)["path"] == "/m-1"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 502, 503, 504])
def test_the_controllers_errors_pass_as_they_are(gateway: Gateway, status: int) -> None:
    do = json.dumps({"status": status, "content-type": PROBLEM, "Retry-After": "7"})
    answer = gateway.ask("POST", "/m-1", {**AS["caller"], "X-Do": do})
    assert (answer.status, once(answer)["retry-after"]) == (status, "7")
    assert json.loads(answer.body)["path"] == "/m-1"


def test_an_answer_sends_nobody_elsewhere_inside(gateway: Gateway, echo: Echo) -> None:
    do = json.dumps({"X-Accel-Redirect": "/deploy/m/1", "X-Accel-Limit-Rate": "1"})
    answer = gateway.ask("POST", "/m-1", {**AS["operator"], "X-Do": do})
    assert json.loads(answer.body)["path"] == "/m-1"
    assert echo.paths() == ["/m-1"]
    assert not [name for name in once(answer) if name.startswith("x-accel")]


def test_what_the_controller_is_told(gateway: Gateway, echo: Echo) -> None:
    lies = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Prefix": "/x",
        "X-Real-IP": "6.6.6.6",
        "Forwarded": "for=6.6.6.6",
        "X-Accel-Redirect": "/x",
        "X-Original-URL": "/deploy/m/1",
        "X-Rewrite-URL": "/deploy/m/1",
        "X-HTTP-Method-Override": "DELETE",
        "Connection": "close, X-Request-Id",
        "Upgrade": "h2c",
        "TE": "trailers",
        "Proxy": "http://evil",
        "Proxy-Authorization": "Basic x",
        "Keep-Alive": "1",
        "Host": "models.example:8080",
        "Origin": "http://models.example:8080",
        "Sec-Fetch-Site": "same-origin",
        "Content-Type": "text/csv",
    }
    assert gateway.ask("POST", "/m-1", {**AS["caller"], **lies}, b"a\n1\n").status == 200
    told = dict(echo.seen[0].headers)
    assert len(told) == len(echo.seen[0].headers)
    assert told.pop("x-request-id")
    assert told == {
        "host": "models.example:8080",
        "authorization": AS["caller"]["Authorization"],
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "origin": "http://models.example:8080",
        "sec-fetch-site": "same-origin",
        "content-type": "text/csv",
        "content-length": "4",
        "accept-encoding": "identity",
    }


@pytest.mark.parametrize("given", ["a", "A-z_0.9", "x" * 128])
def test_a_request_keeps_its_name(gateway: Gateway, echo: Echo, given: str) -> None:
    answer = gateway.ask("POST", "/m-1", {**AS["caller"], "X-Request-Id": given})
    assert once(answer)["x-request-id"] == given
    assert echo.seen[0].header("x-request-id") == [given]


@pytest.mark.parametrize(
    "given", ["", " ", "x" * 129, "a b", "a\tb", 'a"b', "a/b", "\xe9", "a\x1bb"]
)
def test_an_odd_name_is_replaced(gateway: Gateway, echo: Echo, given: str) -> None:
    answer = gateway.ask("POST", "/m-1", {**AS["caller"], "X-Request-Id": given})
    name = once(answer)["x-request-id"]
    assert len(name) == 32
    assert int(name, 16)
    assert echo.seen[0].header("x-request-id") == [name]


@pytest.fixture
def talking(gateways: Gateways) -> Gateway:
    """One whose log has nothing of other tests."""
    return gateways()


def logged(gateway: Gateway, count: int) -> list[dict[str, object]]:
    until_sync(lambda: len(gateway.logged()) == count, what="lines of the log")
    return [json.loads(line) for line in gateway.logged()]


def test_a_line_for_each_request(talking: Gateway) -> None:
    named = {"X-Request-Id": "mine"}
    talking.ask("POST", "/my%20model-1?secret=hunter2", {**AS["caller"], **named}, b"{}")
    talking.ask("DELETE", "/m-1?secret=hunter2", {**AS["caller"], **named})
    talking.ask("PUT", "/version?secret=hunter2", {**basic("admin", "hunter2"), **named})
    # Each worker of nginx writes its lines by itself, and not in the order of the answers.
    found = {line["method"]: line for line in logged(talking, 3)}
    ok, refused, unknown = (found[method] for method in ("POST", "DELETE", "PUT"))
    for line in (ok, refused, unknown):
        assert {*line} == {
            "time", "request_id", "remote_addr", "user", "method", "path", "status", "bytes", "seconds",
            "upstream_status", "upstream_seconds", "protocol", "tls",
        }  # fmt: skip
        assert (line["request_id"], line["remote_addr"]) == ("mine", "127.0.0.1")
    assert (ok["method"], ok["path"], ok["user"]) == ("POST", "/my%20model-1", "caller")
    assert (ok["status"], ok["upstream_status"], ok["tls"]) == (200, 200, "")
    assert isinstance(ok["upstream_seconds"], float)
    assert (refused["method"], refused["status"], refused["user"]) == ("DELETE", 405, "caller")
    assert (refused["upstream_status"], refused["upstream_seconds"]) == (None, None)
    assert (unknown["method"], unknown["status"], unknown["user"]) == ("PUT", 401, "")


async def test_no_line_is_forged(talking: Gateway) -> None:
    requests = [
        head("GET", '/"\\\x1b[31m\xff', None),
        head("GET", "/x%0a%1b%22?a=hunter2", None),
        head("GET", "/" + "a" * 5000, None),
        head("GET", "/version", None, "Referer: a\x1b[31mb\r\n"),
        head("GET", '/"', None, 'X-Request-Id: "},{"a":"\r\n'),
        b"\x00\x1b\n\n",
        b"GET /health\r\n",
    ]
    for name in ('a","user":"admin', "a\n2026/01/01 [crit] forged", "a\x1b[31m", "a\x00b", "\xe9"):
        header = f"Authorization: {basic(name, 'hunter2')['Authorization']}\r\n"
        requests.append(head("GET", "/version", None, header))
    for request in requests:
        assert 200 not in statuses(await send(talking, request))
    lines = logged(talking, len(requests))
    assert {line["user"] for line in lines} == {""}
    text = "\n".join(talking.logged())
    assert text.isascii()
    assert "hunter2" not in text
    assert max(len(line) for line in text.split("\n")) < 1000
    told = talking.errors()
    assert "\x1b" not in told
    assert not [line for line in told.splitlines() if not line.startswith(("20", "gateway: "))]


def test_no_password_is_logged(talking: Gateway) -> None:
    for who, (name, password) in USERS.items():
        talking.ask("POST", "/deploy/m/1", AS[who])
        talking.ask("GET", "/version", basic(name, password + "x"))
    everything = "\n".join(talking.logged()) + talking.errors()
    for who, (_, password) in USERS.items():
        assert password not in everything
        assert AS[who]["Authorization"].split()[1] not in everything
