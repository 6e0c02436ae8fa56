"""The fixtures of the document stores' tests: a plugin that they name, and import nothing of."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from model_deployment.documents.base import Documents
from model_deployment.documents.embedded import EmbeddedDocuments
from tests.support.document_store_bench import Bench, EmbeddedBench, MongoBench
from tests.support.mongod import GIVEN, Mongod


@pytest.fixture(scope="session")
def mongod_of_the_session() -> Iterator[Mongod]:
    """One server for all tests of a process; its files are large, and are not kept."""
    given = os.environ.get(GIVEN)
    with TemporaryDirectory(prefix="mongod-", ignore_cleanup_errors=True) as folder:
        server = Mongod(Path(folder), given)
        if not given:
            server.start()
        yield server
        server.end()


@pytest.fixture
def mongod(mongod_of_the_session: Mongod) -> Iterator[Mongod]:
    """The server, with an empty database, and well again after the test."""
    mongod_of_the_session.fresh()
    yield mongod_of_the_session
    mongod_of_the_session.revive()
    mongod_of_the_session.drop()


@pytest.fixture(params=["embedded", "mongo"])
async def depot(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """One bench for each implementation, with an open and empty store."""
    it: Bench
    if request.param == "mongo":
        it = MongoBench(request.getfixturevalue("mongod"))
    else:
        it = EmbeddedBench(tmp_path / "documents.db")
    await it.store.open()
    yield it
    await it.store.close()


@pytest.fixture
def store(depot: Bench) -> Documents:
    return depot.store


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[EmbeddedDocuments]:
    """The embedded store alone, open and empty, in ``documents.db``; it waits for locks but shortly."""
    it = EmbeddedDocuments(tmp_path / "documents.db", busy=0.3)
    await it.open()
    yield it
    await it.close()
