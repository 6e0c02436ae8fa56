"""The document store in MongoDB. Only this package imports pymongo."""

from model_deployment.documents.mongo.store import MongoDocuments

__all__ = ["MongoDocuments"]
