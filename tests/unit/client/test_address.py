"""Addresses, as users write them."""

import pytest

from model_deployment.client.address import address
from model_deployment.client.errors import BadAddress

VARIABLES = ("MODEL_DEPLOYMENT_URL", "MODEL_DEPLOYMENT_USER", "MODEL_DEPLOYMENT_PASSWORD")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:8000"),
        (" http://h:1/ ", "http://h:1"),
        ("h:1", "http://h:1"),
        ("h", "http://h:8000"),
        (":9000", "http://127.0.0.1:9000"),
        ("http://h", "http://h"),
        ("https://h", "https://h"),
        ("https://h/models/", "https://h/models"),
        ("http://h:1/dashboard/deployments/diabetes-1?x=1#log", "http://h:1"),
        ("::1", "http://[::1]:8000"),
        ("[::1]:9", "http://[::1]:9"),
        ("0.0.0.0:9", "http://127.0.0.1:9"),
        ("model-deployment://h:1", "http://h:1"),
        ("model-deployment://h", "http://h:8000"),
    ],
)
def test_an_address_is_read_forgivingly(text: str, url: str) -> None:
    assert address(text).url == url


@pytest.mark.parametrize(
    "text", ["http://", "ftp://h", "http://h:99999", "http://[::1", "a b", "//"]
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadAddress, match=r"^cannot use .* Write it like http://"):
        address(text)


def test_a_message_about_an_address_has_no_password() -> None:
    with pytest.raises(BadAddress) as raised:
        address("ftp://ann:secret@h")
    assert "secret" not in str(raised.value)
    assert "secret" not in repr(address("http://ann:secret@h"))


def test_a_user_comes_from_the_call_the_address_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODEL_DEPLOYMENT_URL", "http://far:1")
    monkeypatch.setenv("MODEL_DEPLOYMENT_USER", "eve")
    monkeypatch.setenv("MODEL_DEPLOYMENT_PASSWORD", "e")
    found = address()
    assert (found.url, found.user, found.password) == ("http://far:1", "eve", "e")
    found = address("http://ann:a%40b@h")
    assert (found.url, found.user, found.password) == ("http://h", "ann", "a@b")
    found = address("http://ann:a@h", "bob", "b")
    assert (found.user, found.password) == ("bob", "b")


@pytest.mark.parametrize(
    ("text", "near"), [("127.0.0.2:1", True), ("localhost", True), ("::1", True), ("h", False)]
)
def test_proxies_of_the_environment_are_for_other_machines(text: str, near: bool) -> None:
    assert address(text).loopback is near
