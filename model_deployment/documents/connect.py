"""Chooses the document store by its address."""

from pathlib import Path

from model_deployment.documents.base import Documents


def connect(address: str) -> Documents:
    """The store at ``mongodb://...`` or ``sqlite:PATH``; nothing is opened yet.

    Raises:
        ValueError: the address is neither.
    """
    # Imported here: the user of one store does not pay for the other.
    if address.startswith(("mongodb://", "mongodb+srv://")):
        from model_deployment.documents.mongo import MongoDocuments

        return MongoDocuments(address)
    if address.startswith("sqlite:"):
        from model_deployment.documents.embedded import EmbeddedDocuments

        return EmbeddedDocuments(Path(address.removeprefix("sqlite:")))
    # Without the address: there may be a password in it.
    raise ValueError(
        "write mongodb://HOST:PORT/DATABASE, or leave it empty to use a file in the data directory"
    )
