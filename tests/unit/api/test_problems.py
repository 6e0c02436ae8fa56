"""A disk that is full or fails is answered as such, and is not an error of ours."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from model_deployment.api import problems
from model_deployment.state.database import Database

ROOM = 20  # pages


def fill(connection: sqlite3.Connection) -> None:
    """Write until SQLite says that there is no room."""
    connection.execute(f"PRAGMA max_page_count={ROOM}")
    for number in range(ROOM * 2):
        connection.execute("INSERT INTO meta VALUES (?, ?)", (f"n{number}", "x" * 4096))


def forbid(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only=1")
    connection.execute("DELETE FROM meta")


@pytest.mark.parametrize(
    ("work", "status", "says"), [(fill, 507, "is full"), (forbid, 503, "readonly database")]
)
async def test_disk_error_is_a_problem(
    tmp_path: Path, work: Callable[[sqlite3.Connection], None], status: int, says: str
) -> None:
    app = FastAPI()
    problems.install(app)

    @app.post("/")
    async def call() -> None:
        database = Database(tmp_path / "state.db")
        await database.open()
        try:
            await database.write(work)
        finally:
            await database.close()

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post("/")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["detail"].startswith("cannot ")
    assert says in answer.json()["detail"]
    assert ("retry-after" in answer.headers) == (status == 503)
