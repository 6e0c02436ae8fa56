"""A state database that cannot be read: refused and left as it is, while the models serve on.

More kinds of damage are in tests/unit/backup/test_damage.py.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx

from tests.support.harness import HOST, Controllers


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no database": lambda path: path.write_text("not a database " * 1000),
    "header": lambda path: overwrite(path, 0, bytes(100)),
    "empty": lambda path: cut(path, 0),
    "half": lambda path: cut(path, path.stat().st_size // 2),
    "page": lambda path: overwrite(path, 4096, b"\xff" * 4096),
    "no log": lambda path: path.with_name("state.db-shm").touch(),
    "pages": lambda path: overwrite(path, 4096, bytes(4096 * 4)),
    "newer": newer,
}


def test_a_damaged_database_is_refused_unchanged_and_models_serve_on(
    controllers: Controllers,
) -> None:
    controller = controllers(KEEP_MODELS="true").up()
    before = controller.deploy("stub-1")
    # An orderly end, so that the whole state is in this one file.
    assert controller.terminate() == 0
    good = controller.state_db.read_bytes()
    for name, damage in DAMAGES.items():
        damage(controller.state_db)
        bad = controller.state_db.read_bytes()
        assert bad != good or name == "no log"
        heard = len(controller.logged())
        assert controller.start().wait() == 1, name
        said = controller.logged()[heard:]
        assert f"error: cannot open the state database {controller.state_db}: " in said, name
        assert "model-deployment restore --force FILE" in said, name
        assert controller.state_db.read_bytes() == bad, name
        answer = httpx.post(f"http://{HOST}:{before['port']}/invocations", json={"inputs": [1]})
        assert answer.json()["pid"] == before["pid"]
        controller.state_db.write_bytes(good)
        for more in ("-wal", "-shm"):
            controller.state_db.with_name(f"state.db{more}").unlink(missing_ok=True)
    controller.up(KEEP_MODELS="false")
    assert controller.row("stub-1")["pid"] == before["pid"]
