"""A data directory with a backup of it."""

from pathlib import Path

from model_deployment.backup.make import backup
from model_deployment.devices.signing import open_key
from model_deployment.documents.base import Collection
from model_deployment.documents.embedded import EmbeddedDocuments
from tests.support.document_store_bench import documents as some_documents
from tests.support.stored import opened

#: Where programs of tests run.
ROOT = Path(__file__).parents[2]


async def populate(folder: Path, model: str) -> Path:
    """A data directory with one deployment and a document store, backed up."""
    folder.mkdir()  # noqa: ASYNC240 - nothing else is on this loop
    async with opened(folder) as store:
        await store.deploy(model)
    open_key(folder)
    documents = EmbeddedDocuments(folder / "documents.db")
    await documents.open()
    for collection in Collection:
        await documents.insert(collection, some_documents(20))
    await documents.put_blob("page", bytes(1_000_000))
    await documents.close()
    (folder / "spool").mkdir()
    (folder / "spool" / "drain.json").write_text("{}")
    archive = folder.with_name(f"{model}.tar.gz")
    backup(folder, archive, documents="embedded")
    return archive
