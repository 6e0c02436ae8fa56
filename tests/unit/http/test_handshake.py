"""Which requests are handshakes of WebSockets: those of RFC 6455, section 4.2.1, and no others."""

import base64
import os

import pytest

from model_deployment.http.handshake import is_handshake

GOOD = {
    b"host": b"controller",
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25jZQ==",
    b"sec-websocket-version": b"13",
}


def changed(**changes: bytes | None) -> list[tuple[bytes, bytes]]:
    """The headers of a handshake, with other values; None leaves one out."""
    named = {name.replace("_", "-").encode(): value for name, value in changes.items()}
    return [(name, value) for name, value in (GOOD | named).items() if value is not None]


@pytest.mark.parametrize(
    "headers",
    [
        changed(),
        changed(upgrade=b"WebSocket"),
        changed(upgrade=b"h2c, websocket"),
        changed(connection=b"keep-alive, Upgrade"),
        changed(connection=b"UPGRADE"),
        changed(content_length=b"0"),
        changed(origin=b"http://x", sec_websocket_protocol=b"a", sec_websocket_extensions=b"b"),
        [*changed(connection=b"keep-alive"), (b"connection", b"upgrade")],
    ],
)
def test_handshake_is_recognised(headers: list[tuple[bytes, bytes]]) -> None:
    assert is_handshake(b"GET", "1.1", headers)


@pytest.mark.parametrize(
    "headers",
    [
        changed(upgrade=None),
        changed(upgrade=b"h2c"),
        changed(upgrade=b"websockets"),
        changed(connection=None),
        changed(connection=b"keep-alive"),
        changed(connection=b"xupgrade"),
        changed(sec_websocket_key=None),
        changed(sec_websocket_key=b""),
        changed(sec_websocket_key=b"short"),
        changed(sec_websocket_key=b"dGhlIHNhbXBsZSBub25jZQ"),
        changed(sec_websocket_key=b"dGhlIHNhbXBsZSBub25jZR=="),  # more than 16 bytes
        changed(sec_websocket_key=b"dGhlIHNhbXBsZSBub25j ZQ=="),
        [*changed(), (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")],
        changed(sec_websocket_version=None),
        changed(sec_websocket_version=b"8"),
        changed(sec_websocket_version=b"13, 8"),
        [*changed(), (b"sec-websocket-version", b"13")],
        changed(content_length=b"1"),
        changed(transfer_encoding=b"chunked"),
    ],
)
def test_what_is_no_handshake_is_not_taken_for_one(headers: list[tuple[bytes, bytes]]) -> None:
    assert not is_handshake(b"GET", "1.1", headers)


@pytest.mark.parametrize(
    ("method", "version"), [(b"POST", "1.1"), (b"GET", "1.0"), (b"HEAD", "1.1")]
)
def test_handshake_is_a_get_of_http_1_1(method: bytes, version: str) -> None:
    assert not is_handshake(method, version, changed())


def test_every_key_of_16_bytes_is_good() -> None:
    for size in range(14, 19):
        for _ in range(200):
            key = base64.b64encode(os.urandom(size))
            assert is_handshake(b"GET", "1.1", changed(sec_websocket_key=key)) == (size == 16)
