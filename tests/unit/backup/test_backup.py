"""Backups: while others write, on a full disk, and without a document store that should be there."""

import subprocess
import sys
from pathlib import Path

import pytest

from model_deployment.backup.make import backup
from model_deployment.backup.restore import restore
from model_deployment.core.errors import StateError
from model_deployment.documents.base import Collection, Query
from model_deployment.documents.embedded import EmbeddedDocuments
from tests.support.backed_up import ROOT, populate
from tests.support.stored import opened
from tests.support.waiting import until_sync

# ruff: noqa: ASYNC220, ASYNC221, ASYNC240 - nothing else is on these loops

#: Writes batches of 50 documents and pairs of rows for ever, as a controller and its drain do.
WRITER = """
import asyncio, itertools, sys
from pathlib import Path
from model_deployment.documents.base import Collection
from model_deployment.documents.embedded import EmbeddedDocuments
from model_deployment.state.database import Lock
from tests.support.document_store_bench import documents
from tests.support.stored import opened

async def main(folder):
    lock = Lock(folder / "controller.lock")
    lock.acquire()
    async with opened(folder) as state:
        store = EmbeddedDocuments(folder / "documents.db")
        await store.open()
        for n in itertools.count(1):
            batch = [{**one, "_id": f"{n}-{i}"} for i, one in enumerate(documents(50))]
            await store.insert(Collection.CAPTURES, batch)
            await state.database.write(lambda c: [
                c.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, str(n))) for name in "ab"
            ])
            if n == 3:
                (folder / "written").touch()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.slow
async def test_backups_during_writes_are_consistent(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    archives = [tmp_path / f"{number}.tar.gz" for number in range(10)]
    with subprocess.Popen([sys.executable, "-c", WRITER, str(data)], cwd=ROOT) as writer:
        try:
            until_sync((data / "written").exists, timeout=30, what="a writer")
            for archive in archives:
                backup(data, archive, documents="embedded")
            with pytest.raises(StateError, match="another controller"):
                restore(data, archives[0], force=True)
            assert writer.poll() is None
        finally:
            writer.kill()
    last = 0
    for number, archive in enumerate(archives):
        target = tmp_path / f"restored-{number}"
        restore(target, archive, clone=True)
        async with opened(target) as state:
            noted = [await state.database.meta(name) for name in "ab"]
        store = EmbeddedDocuments(target / "documents.db")
        await store.open()
        documents = await store.count(Query(Collection.CAPTURES))
        await store.close()
        assert noted[0] == noted[1]
        assert documents % 50 == 0
        # The state first: whatever it tells of is among the documents.
        assert last <= int(noted[0] or 0) <= documents // 50
        last = int(noted[0] or 0)
    assert last >= 3


async def test_backup_without_its_document_store_is_refused(tmp_path: Path) -> None:
    await populate(tmp_path / "data", "m")
    async with opened(tmp_path / "data") as store:
        await store.execute("INSERT INTO meta VALUES ('documents', 'embedded')")
    (tmp_path / "data" / "documents.db").unlink()
    with pytest.raises(StateError, match="cannot find the document store"):
        backup(tmp_path / "data", tmp_path / "other.tar.gz", documents="embedded")
    manifest = backup(tmp_path / "data", tmp_path / "other.tar.gz", documents="mongodb")
    assert {*manifest.members} == {"state.db", "instance-id", "release.key"}


#: Makes a backup where no file may grow beyond so many bytes, and prints the message.
FULL = """
import resource, sys
from pathlib import Path
from model_deployment.backup.make import backup
from model_deployment.core.errors import StateError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    backup(Path(sys.argv[1]), Path(sys.argv[2]), documents="embedded", force=True)
except StateError as error:
    print(error.detail)
"""


@pytest.mark.parametrize("room", [4096, 500_000])
async def test_full_disk_keeps_the_earlier_backup(tmp_path: Path, room: int) -> None:
    archive = await populate(tmp_path / "data", "m")
    before = archive.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "data"), str(archive), str(room)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cannot ")
    assert archive.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "m.tar.gz"]
