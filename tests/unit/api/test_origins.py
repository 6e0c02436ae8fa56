"""Where a request may come from: by which name of ours, and from which page."""

import pytest

from model_deployment.core.errors import CrossSite, MethodNotAllowed, Misdirected
from model_deployment.credentials.access import is_ours, refuse_cross_site
from tests.support.access_requests import ask
from tests.support.cases import each


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "127.0.0.1", "127.0.0.1:80", "10.1.2.3:8080", "[::1]", "[::1]:8000",
     "models.example", "models.example:443", "models.example.:443"],
)  # fmt: skip
def test_host_accepts_names_of_the_controller(host: str) -> None:
    assert is_ours(host, {"models.example"})


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1.nip.io:8000",
     "models.example.evil.example", "x.models.example", "models.example:", "models.example:80:80", "1",
     "0x7f000001", "models.example/", "user@models.example", "[::1", "[evil.example]", " localhost"],
)  # fmt: skip
async def test_host_refuses_other_names(host: str) -> None:
    assert not is_ours(host, {"models.example"})
    with pytest.raises(Misdirected):
        await ask("GET", "/health", host=host)


async def test_host_ignores_case() -> None:
    await ask("GET", "/health", host="Models.EXAMPLE:8000")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "BREW"])
@each(
    "headers, good",
    [
        ({}, True),  # no browser
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "none"}, True),  # typed in
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": ""}, False),
        ({"sec_fetch_site": "cross-site", "origin": "http://127.0.0.1:8000"}, False),
        ({"origin": "http://127.0.0.1:8000"}, True),
        ({"origin": "https://127.0.0.1:8000"}, True),  # the gateway has TLS
        ({"origin": "http://127.0.0.1:9000"}, False),
        ({"origin": "http://127.0.0.1"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://127.0.0.1:8000.evil.example"}, False),
        ({"origin": "http://127.0.0.1:8000@evil.example"}, False),
        ({"origin": "file://127.0.0.1:8000"}, False),
        ({"origin": "http://127.0.0.1:8000/"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "http://[::1"}, False),
        ({"host": "models.example", "origin": "https://models.example"}, True),
        ({"host": "models.example", "origin": "https://models.example:443"}, True),
        ({"host": "models.example:443", "origin": "https://models.example"}, True),
        ({"host": "models.example", "origin": "https://models.example:8443"}, False),
    ],
)
async def test_cross_site_post_is_refused(method: str, headers: dict[str, str], good: bool) -> None:
    try:
        await ask(method, "/deploy/iris/1", "olga", **headers)
    except CrossSite:
        assert not good
    except MethodNotAllowed:
        assert good
        assert method != "POST"
    else:
        assert good
        assert method == "POST"


async def test_cross_site_link_to_a_reading_call_is_allowed() -> None:
    await ask("GET", "/model/iris-1/reports", "carl", sec_fetch_site="cross-site")
    await ask(
        "GET", "/model/iris-1/degradation_report", "carl", "id=x", sec_fetch_site="cross-site"
    )


@pytest.mark.parametrize("query", ["", "format=json", "id=", "xid=1"])
async def test_cross_site_get_that_starts_work_is_refused(query: str) -> None:
    await ask("GET", "/model/iris-1/degradation_report", "carl", query)
    with pytest.raises(CrossSite):
        await ask("GET", "/model/iris-1/degradation_report", "carl", query, origin="http://evil")


@pytest.mark.parametrize("path", ["/dashboard/events", "/dashboard/deployments/iris-1/columns"])
async def test_cross_site_get_of_scarce_resources_is_refused(path: str) -> None:
    """A live connection is one of few, and columns are read from the document store."""
    await ask("GET", path, "olga", "since=1", sec_fetch_site="same-origin")
    for headers in ({"sec_fetch_site": "cross-site"}, {"origin": "http://evil"}):
        with pytest.raises(CrossSite):
            await ask("GET", path, "olga", **headers)
    await ask("GET", "/dashboard", "carl", sec_fetch_site="cross-site")  # a link to it is followed


def test_same_origin_with_any_spelling_of_the_port_is_allowed() -> None:
    refuse_cross_site({b"origin": b"http://Models.Example", b"host": b"models.example:80"})
