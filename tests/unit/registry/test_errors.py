"""What is said of a registry that is away or is none, with MLflow's own client and real faults."""

import os
import socket
import sqlite3
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from model_deployment.core.errors import RegistryUnavailable
from model_deployment.core.names import ModelKey
from model_deployment.registry.client import Registry
from model_deployment.registry.errors import explain, first_line, is_absent_file
from model_deployment.registry.mlflow_client import create_database
from tests.support.ports import free_port

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's

KEY = ModelKey("diabetes", 1)
HTML = b"<!doctype html><html><body><h1>Oops</h1></body></html>"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What clients set for the whole process is as it was, when other tests come."""
    import mlflow

    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    yield
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


async def said(uri: str, timeout: float = 30) -> str:
    """What a look-up is answered, after "cannot look up diabetes-1: "."""
    registry = Registry(tracking_uri=uri, registry_uri=uri, timeout=timeout, download_timeout=30)
    with pytest.raises(RegistryUnavailable) as refused:
        await registry.version(KEY)
    start, _, rest = refused.value.detail.partition(": ")
    assert start == "cannot look up diabetes-1"
    assert refused.value.retry_after
    return rest


Serve = Callable[[int, bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts what answers every request in one way; its address."""
    servers = []

    def start(status: int, body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


async def test_refused_connection_is_explained() -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    assert await said(uri) == f"cannot reach the MLflow registry at {uri}: connection refused"


async def test_credentials_in_the_address_are_not_shown() -> None:
    port = free_port()
    told = await said(f"http://ana:hush@127.0.0.1:{port}/path?token=hush")
    assert told == (
        f"cannot reach the MLflow registry at http://127.0.0.1:{port}/path?...: connection refused"
    )


async def test_unknown_host_is_explained() -> None:
    told = await said("http://registry.invalid:5000")
    assert told.endswith("at http://registry.invalid:5000: its host name cannot be resolved")


async def test_silent_server_is_explained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        uri = f"http://127.0.0.1:{mute.getsockname()[1]}"
        assert await said(uri) == f"cannot reach the MLflow registry at {uri}: no answer in time"
        told = await said(uri, timeout=0.2)
        assert told == f"no answer from the MLflow registry at {uri} within 0.2 s"


async def test_server_that_hangs_up_is_explained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude:

        def hang_up() -> None:
            try:
                while True:
                    rude.accept()[0].close()
            except OSError:
                return

        threading.Thread(target=hang_up, daemon=True).start()
        told = await said(f"http://127.0.0.1:{rude.getsockname()[1]}")
        rude.shutdown(socket.SHUT_RDWR)
    assert told.endswith(": it closed the connection")


async def test_missing_tls_is_explained(serve: Serve) -> None:
    told = await said(serve(200, b"{}").replace("http:", "https:"))
    assert told.endswith(": it does not speak TLS there; write http:// instead of https://")


@pytest.fixture
def certified(tmp_path: Path) -> ssl.SSLContext:
    """With a certificate that it made for itself."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", certificate, "-days", "1", "-subj", "/CN=registry"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_untrusted_certificate_is_explained(certified: ssl.SSLContext) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            while True:
                try:
                    certified.wrap_socket(listener.accept()[0], server_side=True).close()
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=greet, daemon=True).start()
        told = await said(f"https://127.0.0.1:{listener.getsockname()[1]}")
        listener.shutdown(socket.SHUT_RDWR)
    assert told.endswith(": its certificate is not trusted (self-signed certificate)")


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, HTML, "the server there is not an MLflow server"),
        (200, b"[1]", "the server there is not an MLflow server"),
        (200, b'{"hello": "world"}', "the server there does not answer like an MLflow server"),
        (404, HTML, "the server there is not an MLflow server (404)"),
        (404, b'{"detail": "Not Found"}', "the server there is not an MLflow server"),
        (405, b"", "the server there is not an MLflow server (405)"),
        (302, b"", "it answered 302 Found: its address redirects elsewhere, perhaps to a login"),
        (401, b"You are not authenticated. See https://mlflow.org",
         "it requires a user and a password (401): set MLFLOW_TRACKING_USERNAME and "
         "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"),
        (403, b"Permission denied", "it does not allow this to the controller's user (403)"),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}',
         "it does not allow this to the controller's user (403)"),
        (500, HTML, "it answered 500 Internal Server Error"),
        (502, HTML, "it answered 502 Bad Gateway"),
        (503, b"", "it answered 503 Service Unavailable"),
        (429, b"slow down", "it answered 429 Too Many Requests"),
    ],
)  # fmt: skip
async def test_useless_answers_are_explained(
    serve: Serve, status: int, body: bytes, says: str
) -> None:
    uri = serve(status, body)
    assert await said(uri) == f"cannot use the MLflow registry at {uri}: {says}"


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("mysql://ana:hush@db/mlflow", "the driver MySQLdb is not installed: pip install mysqlclient"),
        ("postgresql://ana:hush@db/mlflow", "the driver psycopg is not installed: "
         "pip install psycopg2-binary, and write postgresql+psycopg2://"),
        ("mssql+pyodbc://ana:hush@db/mlflow", "the driver pyodbc is not installed: pip install pyodbc"),
        ("gopher://db", "that is not the address of a registry: write http://HOST:PORT, "
         "sqlite:////PATH/mlflow.db, or that of another database"),
        ("file:///srv/mlruns", "MLflow no longer keeps a registry in plain folders: write "
         "sqlite:////PATH/mlflow.db, or the address of an MLflow server"),
    ],
)  # fmt: skip
async def test_unusable_addresses_are_explained(uri: str, says: str) -> None:
    told = await said(uri)
    assert told.endswith(f": {says}")
    assert "hush" not in told


async def test_unusable_files_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "a registry.db"
    start = f"cannot use the MLflow registry at sqlite:///{path}: "
    path.mkdir()
    assert await said(f"sqlite:///{path}") == f"{start}{path} is not a file"
    path.rmdir()
    path.write_text("not at all " * 500)
    assert await said(f"sqlite:///{path}") == f"{start}its file is not an SQLite database"
    create_database(f"sqlite:///{path.with_name('good.db')}")
    content = bytearray(path.with_name("good.db").read_bytes())
    content[4096 * 2 : 4096 * 40] = os.urandom(4096 * 38)
    path.write_bytes(content)
    assert await said(f"sqlite:///{path}") == f"{start}its file is damaged"


async def test_locked_file_is_explained_in_time(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    create_database(uri)
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        told = await said(uri, timeout=5)
        assert (
            told
            == f"cannot use the MLflow registry at {uri}: its database is locked by another program"
        )
        other.execute("ROLLBACK")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no such table: registered_models", "its file lacks tables of MLflow: it was replaced"),
        ("attempt to write a readonly database", "its file is read-only for the controller's user"),
        ("unable to open database file", "its file cannot be opened: the folder must exist"),
        ("database or disk is full", "its disk is full"),
        ("something else entirely", "something else entirely"),
    ],
)
def test_sqlite_errors_are_explained(text: str, says: str) -> None:
    told = explain(Odd(sqlite3.OperationalError(text)), "sqlite:///a.db")
    assert told.startswith(f"cannot use the MLflow registry at sqlite:///a.db: {says}")


class Odd(Exception):
    """As drivers raise them: what happened lies in ``orig``, and is long."""

    def __init__(self, orig: Exception) -> None:
        super().__init__(f"({type(orig).__name__}) {orig}")
        self.orig = orig


def test_unknown_error_shows_its_first_line() -> None:
    driver = Odd(
        RuntimeError(
            'connection to server at "db", port 5432 failed: no pg_hba.conf entry\n\tDetails'
        )
    )
    told = explain(driver, "postgresql://db")
    assert told == (
        "cannot use the MLflow registry at postgresql://db: "
        'connection to server at "db", port 5432 failed: no pg_hba.conf entry'
    )
    refused = Odd(
        RuntimeError("connection to server at db failed: Connection refused\n\tIs it running?")
    )
    assert explain(refused, "pg") == "cannot reach the MLflow registry at pg: connection refused"
    no_driver = ModuleNotFoundError("No module named 'psycopg2'")
    assert "pip install psycopg2-binary" in explain(no_driver, "pg")


def test_long_lines_end_with_a_word_and_hold_no_password() -> None:
    told = first_line(
        RuntimeError("\n  cannot use http://ana:hush@host/x?sig=hush " + "word " * 90)
    )
    assert told.endswith("word ...")
    assert len(told) <= 210
    assert "hush" not in told
    assert first_line(KeyError()) == "KeyError"


@pytest.mark.parametrize(
    ("said", "absent"),
    [
        (
            "404 Client Error: Not Found for url: http://mlflow:5000/api/2.0/mlflow-artifacts/…",
            True,
        ),
        ("An error occurred (404) when calling the HeadObject operation: Not Found", True),
        ("An error occurred (NoSuchKey) when calling the GetObject operation", True),
        ("[Errno 2] No such file or directory: '/mlruns/1/requirements.txt'", True),
        ("No such artifact: 'requirements.txt'", True),
        ("503 Server Error: Service Unavailable for url: http://mlflow:5000/…", False),
        ("HTTPConnectionPool(host='mlflow', port=5000): Read timed out.", False),
    ],
)
def test_missing_file_is_no_failure_of_its_store(said: str, absent: bool) -> None:
    failed = f"The following failures occurred while downloading one or more artifacts: {said}"
    assert is_absent_file(MlflowException(failed)) is absent
