"""Addresses of controllers: which are read, and when plain HTTP is allowed."""

from typing import Any

import pytest
from model_deployment_agent.controller import Address
from model_deployment_agent.errors import AgentError


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://m.example.org", ("https", "m.example.org", 443, "", "wss://m.example.org:443")),
        ("http://127.0.0.1:8000/", ("http", "127.0.0.1", 8000, "", "ws://127.0.0.1:8000")),
        ("http://[::1]:80/a/b/", ("http", "::1", 80, "/a/b", "ws://[::1]:80/a/b")),
        ("http://localhost", ("http", "localhost", 80, "", "ws://localhost:80")),
    ],
)
def test_addresses(url: str, found: tuple[Any, ...]) -> None:
    address = Address.of(url, insecure=False)
    assert (address.scheme, address.host, address.port, address.prefix, address.socket_url) == found


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "ftp://127.0.0.1",
        "http://",
        "https://a:b@c",
        "https://a?x=1",
        "http://a:99999",
        "http://[::1",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(AgentError, match=r"^cannot use the address"):
        Address.of(url, insecure=True)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1", "http://m.example.org", "http://127.0.0.1.example.org"]
)
def test_plain_http_to_others_only_if_asked_for(url: str) -> None:
    with pytest.raises(AgentError, match="say --insecure"):
        Address.of(url, insecure=False)
    assert Address.of(url, insecure=True).scheme == "http"
