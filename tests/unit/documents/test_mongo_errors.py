"""What is said of MongoDB when it is away, with its own driver and real faults."""

import gc
import warnings
from collections.abc import Iterator

import pytest

from model_deployment.documents.base import StoreUnavailable
from model_deployment.documents.connect import connect
from model_deployment.documents.mongo.errors import explain, first_line
from tests.support.ports import free_port


@pytest.fixture
def no_socket_is_left() -> Iterator[None]:
    """PyMongo forgets a socket whose connecting is cancelled: it goes here, and warns in no other test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def said(url: str) -> str:
    documents = connect(url)
    try:
        with pytest.raises(StoreUnavailable) as away:
            await documents.open()
        return str(away.value)
    finally:
        await documents.close()


@pytest.mark.usefixtures("no_socket_is_left")
async def test_refused_connection_is_explained() -> None:
    port = free_port()
    told = await said(f"mongodb://ana:hush@127.0.0.1:{port}/captures")
    assert told == f"cannot reach MongoDB at 127.0.0.1:{port}: connection refused"


@pytest.mark.usefixtures("no_socket_is_left")
async def test_unknown_host_is_explained() -> None:
    told = await said("mongodb://store.invalid:27017/captures")
    assert told == "cannot reach MongoDB at store.invalid:27017: its host name cannot be resolved"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("No servers found yet, Timeout: 1.9s, Topology Description: <TopologyDescription id: 6b, servers: "
         "[<ServerDescription ('127.0.0.1', 40205) server_type: Unknown, rtt: None>]>",
         "cannot reach MongoDB at 127.0.0.1:40205: no answer in time"),
        ("Authentication failed., full error: {'ok': 0.0, 'code': 18}",
         "cannot use MongoDB: it refuses the user or the password"),
        ("not authorized on captures to execute command { insert: 1 }, full error: {'ok': 0}",
         "cannot use MongoDB: its user lacks permissions; grant the user readWrite on the database"),
        ("No replica set members match selector \"Primary()\", Timeout: 2.0s, Topology Description: <x>",
         "cannot use MongoDB: it has no primary at the moment"),
        ("db:27017: SSL handshake failed: db:27017: [SSL: X] certificate verify failed",
         "cannot reach MongoDB at db:27017: its certificate is not trusted"),
        ("db1:27017: connection closed (configured timeouts: a: 20.0ms),db2:27017: connection "
         "closed (configured timeouts: a: 20.0ms), Timeout: 2s, Topology Description: <x>",
         "cannot reach MongoDB at db1:27017, db2:27017: it closed the connection"),
        ("The DNS query name does not exist: _mongodb._tcp.db.invalid.",
         "cannot use MongoDB: The DNS query name does not exist: _mongodb._tcp.db.invalid."),
    ],
)  # fmt: skip
def test_driver_errors_are_explained(text: str, says: str) -> None:
    assert explain(RuntimeError(text)) == says


def test_unknown_error_shows_its_first_line() -> None:
    assert first_line(RuntimeError("odd, full error: {'a': 1}\nmore")) == "odd"
    text = "odd thing: no writer here, Topology Description: <TopologyDescription id: 6b>"
    assert first_line(RuntimeError(text)) == "odd thing: no writer here"
    assert first_line(ValueError()) == "ValueError"
    assert first_line(ValueError("word " * 90)).endswith("word ...")
