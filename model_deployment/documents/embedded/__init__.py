"""The document store in one SQLite file, for those who have no MongoDB at hand."""

from model_deployment.documents.embedded.file import HELP
from model_deployment.documents.embedded.store import EmbeddedDocuments

__all__ = ["HELP", "EmbeddedDocuments"]
