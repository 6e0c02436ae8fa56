"""Refuses a start whose document store is lost or damaged."""

import logging

from model_deployment.core.errors import StateError
from model_deployment.documents.base import StoreUnavailable, StoreUnusable
from model_deployment.documents.embedded import HELP, EmbeddedDocuments
from model_deployment.settings import Settings
from model_deployment.state import files
from model_deployment.state.database import Database

_log = logging.getLogger(__name__)

#: Seconds that the embedded store is examined before models are adopted; it is examined again later.
_EXAMINATION = 0.3


async def check_document_store(settings: Settings, database: Database) -> None:
    """Check the embedded store before anything is changed.

    The state notes that there is a store, so that a lost store is not mistaken for a new data directory.
    A store that cannot be written now is no reason to refuse: captures wait for it.

    Raises:
        StateError: it is lost, damaged, not ours, or was written by a newer release.
    """
    if settings.documents_url:
        return
    path = settings.data_dir / "documents.db"
    had = await database.meta(files.DOCUMENTS) is not None
    if had and not (path.is_file() and path.stat().st_size):
        raise StateError(
            f"cannot find the document store {path}: the file is missing, but this data directory had "
            f"one. {HELP}"
        )
    store = EmbeddedDocuments(path, check_seconds=_EXAMINATION)
    try:
        await store.open()
        await store.close()
    except StoreUnusable as error:
        raise StateError(str(error)) from error
    except StoreUnavailable as error:
        _log.warning("%s", error)
        return
    if not had:
        await database.change(
            "INSERT OR REPLACE INTO meta VALUES (?, 'embedded')", (files.DOCUMENTS,)
        )
