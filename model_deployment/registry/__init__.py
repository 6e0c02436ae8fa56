"""Reads the MLflow registry: models and versions, their artifacts, metrics and training data."""
