"""The gateway with a certificate: everything over TLS, and http:// only leads there."""

import contextlib
import http.client
import json
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.echo_server import Echo
from tests.support.nginx_gateway import AS, Gateway, certificates, credentials
from tests.support.stubs import HOST, Answer
from tests.support.tools import PROBLEM


@pytest.fixture(scope="module")
def only_tls(only_echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("tls")
    it = Gateway(
        folder,
        only_echo.address,
        credentials=credentials(folder / "credentials"),
        certificates=certificates(folder / "certificates"),
    )
    it.start()
    yield it
    assert it.stop() == 0


@pytest.fixture
def tls(only_tls: Gateway, echo: Echo) -> Gateway:
    return only_tls


@pytest.fixture
def context(tls: Gateway) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(Path(tls.environment["CERTIFICATES"]) / "tls.crt"))


def ask(
    tls: Gateway, context: ssl.SSLContext, method: str, path: str, who: str | None = None
) -> Answer:
    connection = http.client.HTTPSConnection(HOST, tls.https_port, timeout=15, context=context)
    with contextlib.closing(connection):
        connection.request(method, path, headers=AS[who] if who else {})
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())


def test_everything_over_tls(tls: Gateway, echo: Echo, context: ssl.SSLContext) -> None:
    answer = ask(tls, context, "POST", "/m-1", "caller")
    assert answer.status == 200
    assert dict(echo.seen[0].headers)["x-forwarded-proto"] == "https"
    assert ask(tls, context, "POST", "/m-1").status == 401
    assert ask(tls, context, "POST", "/deploy/m/1", "caller").status == 403
    for path in ("/health", "/version"):
        headers = dict(ask(tls, context, "GET", path).headers)
        assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert json.loads(tls.logged()[-1])["tls"] == "TLSv1.3"


def test_http_leads_to_https(tls: Gateway, echo: Echo) -> None:
    for method in ("GET", "HEAD", "POST", "DELETE"):
        answer = tls.ask(method, "/deploy/m/1?wait=0", AS["operator"])
        assert answer.status == 308
        assert dict(answer.headers)["Location"] == f"{tls.https_url}/deploy/m/1?wait=0"
        assert "Strict-Transport-Security" not in dict(answer.headers)
    for path in ("/health/", "/HEALTH", "/m-1", "/"):
        assert tls.ask("GET", path).status == 308
    assert tls.ask("POST", "/health").status == 308
    for path in ("/%68ealth", "/x/../health", "//health", "/x%0d%0aX:y"):
        assert tls.ask("GET", path).status == 400
    assert echo.seen == []


def test_health_needs_no_tls(tls: Gateway, echo: Echo) -> None:
    assert tls.ask("GET", "/health", AS["operator"]).status == 200
    assert [seen.path for seen in echo.seen] == ["/health"]
    assert echo.seen[0].header("authorization") == []


def test_http_on_the_port_of_https(tls: Gateway, echo: Echo) -> None:
    connection = http.client.HTTPConnection(HOST, tls.https_port, timeout=15)
    with contextlib.closing(connection):
        connection.request("POST", "/m-1", headers=AS["caller"])
        response = connection.getresponse()
        assert (response.status, response.getheader("Content-Type")) == (400, PROBLEM)
    assert echo.seen == []


def test_old_ciphers_are_refused(tls: Gateway, context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    with socket.create_connection((HOST, tls.https_port), 15) as raw:  # noqa: SIM117
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(raw, server_hostname=HOST)


@pytest.mark.parametrize(
    ("path", "who", "status"),
    [
        ("/version", "caller", b"200"),
        ("/version", None, b"401"),
        ("/undeploy/m-1", "caller", b"405"),
        ("/x/../version", "caller", b"400"),
        ("/%76ersion", "caller", b"400"),
        ("//version", "caller", b"400"),
    ],
)
def test_http2(
    tls: Gateway, echo: Echo, context: ssl.SSLContext, path: str, who: str | None, status: bytes
) -> None:
    context.set_alpn_protocols(["h2"])
    fields = {
        ":method": "GET", ":scheme": "https", ":authority": "models.example", ":path": path,
        **({"authorization": AS[who]["Authorization"]} if who else {}),
    }  # fmt: skip
    with (
        socket.create_connection((HOST, tls.https_port), 15) as raw,
        context.wrap_socket(raw, server_hostname=HOST) as connection,
    ):
        assert connection.selected_alpn_protocol() == "h2"
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b""))
        # HEADERS, with END_HEADERS and END_STREAM
        connection.sendall(
            _frame(1, 0x5, 1, b"".join(map(_field, *zip(*fields.items(), strict=True))))
        )
        assert _status(connection) == status
    assert [seen.header("host") for seen in echo.seen] == (
        [["models.example"]] if status == b"200" else []
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """See RFC 9113, section 4.1."""
    return struct.pack("!IBI", len(payload) << 8 | kind, flags, stream) + payload


def _field(name: str, value: str) -> bytes:
    """A literal without indexing, RFC 7541, section 6.2.2; texts of less than 127 bytes."""
    return b"\x00" + b"".join(bytes([len(text)]) + text for text in (name.encode(), value.encode()))


def _status(connection: ssl.SSLSocket) -> bytes:
    """Of the first HEADERS frame: an entry of the static table, or a literal of three digits."""
    stream = connection.makefile("rb")
    while True:
        length_and_kind, _, _ = struct.unpack("!IBI", stream.read(9))
        payload = stream.read(length_and_kind >> 8)
        if length_and_kind & 0xFF == 1:
            break
    static = {8: b"200", 9: b"204", 10: b"206", 11: b"304", 12: b"400", 13: b"404", 14: b"500"}
    if payload[0] & 0x80:
        return static[payload[0] & 0x7F]
    assert payload[1] == 3  # three digits, not Huffman coded
    return payload[2:5]
