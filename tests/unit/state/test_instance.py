"""The name of a data directory outlives its database; and a disk that fails is not a damaged file."""

import errno
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest

from model_deployment.backup.reset import new_state
from model_deployment.core.errors import StateError
from model_deployment.state import files, instance
from model_deployment.state.database import Database
from tests.support.stored import opened

ROOT = Path(__file__).parents[3]


async def name_of(folder: Path) -> str:
    """Open the database of a folder, and close it; its name."""
    async with opened(folder) as store:
        return await store.database.instance_id()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lose(folder: Path) -> None:
    for path in folder.glob("state.db*"):
        path.unlink()


async def test_the_name_outlives_the_database(tmp_path: Path) -> None:
    name = await name_of(tmp_path)
    file = tmp_path / "instance-id"
    assert file.read_text() == f"{name}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lose(tmp_path)
    with pytest.raises(StateError, match="cannot find the state database"):
        await name_of(tmp_path)
    assert names(tmp_path) == ["instance-id"]
    assert new_state(tmp_path) == []
    (tmp_path / "controller.lock").unlink()
    assert await name_of(tmp_path) == name
    assert names(tmp_path) == ["instance-id", "state.db"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda file: file.unlink(),
        lambda file: file.write_text(""),
        lambda file: file.write_text("0123"),
        lambda file: file.write_bytes(b"\xff" * 12),
    ],
)
async def test_a_file_that_is_missing_or_cut_is_made_from_the_database(
    tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    name = await name_of(tmp_path)
    harm(tmp_path / "instance-id")
    assert await name_of(tmp_path) == name
    assert instance.read(tmp_path / "instance-id") == name


async def test_the_copy_of_another_directorys_database_does_not_bring_its_name(
    tmp_path: Path,
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    name = await name_of(ours)
    assert await name_of(theirs) != name
    shutil.copy(theirs / "state.db", ours)
    assert await name_of(ours) == name


def test_a_name_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "instance-id"
    instance.write(file, "0" * 12)
    with (
        patch("os.fsync", side_effect=OSError(errno.EIO, "broken")),
        pytest.raises(OSError, match="broken"),
    ):
        instance.write(file, "1" * 12)
    assert names(tmp_path) == ["instance-id"]
    assert instance.read(file) == "0" * 12
    (tmp_path / ".instance-id.new").write_text("left over")
    instance.write(file, "1" * 12)
    assert instance.read(file) == "1" * 12


#: Opens a database where no file may grow beyond so many bytes, and prints the message.
OPEN = """
import asyncio, resource, sys
from pathlib import Path
from model_deployment.backup.reset import new_state
from model_deployment.core.errors import StateError
from model_deployment.state.database import Database
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    asyncio.run(Database(Path(sys.argv[1])).open())
except StateError as error:
    print(error.detail)
"""


def opened_with(path: Path, room: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(path), str(room)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("room", [0, 8192])
async def test_a_disk_without_room_is_no_reason_to_move_a_good_file_away(
    tmp_path: Path, room: int
) -> None:
    await name_of(tmp_path)
    path = tmp_path / "state.db"
    before = path.read_bytes()
    assert len(before) > 8192
    said = opened_with(path, room)
    assert said.startswith(f"cannot open the state database {path}: ")
    assert "leave it in place" in said
    assert "--new-state" not in said
    assert path.read_bytes() == before


def failing(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "leave it in place"),
        (PermissionError(errno.EACCES, "Permission denied"), "leave it in place"),
        (failing(sqlite3.SQLITE_FULL), "leave it in place"),
        (failing(sqlite3.SQLITE_IOERR_READ), "leave it in place"),
        (failing(sqlite3.SQLITE_READONLY_DIRECTORY), "leave it in place"),
        (failing(sqlite3.SQLITE_CORRUPT), "--new-state"),
        (failing(sqlite3.SQLITE_NOTADB), "--new-state"),
    ],
    ids=str,
)
async def test_the_advice_fits_the_trouble(tmp_path: Path, error: Exception, advice: str) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db")):
        pass
    with (
        patch.object(files, "_check_copy", side_effect=error),
        pytest.raises(StateError, match=advice),
    ):
        await Database(tmp_path / "state.db").open()
