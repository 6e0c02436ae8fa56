"""A statement on a state database, past all rules of the package that has it."""

import sqlite3
from typing import Any

from model_deployment.state.database import Database


async def query(database: Database, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """The rows of a statement."""

    def work(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.execute(sql, values)]

    return await database.read(work)
