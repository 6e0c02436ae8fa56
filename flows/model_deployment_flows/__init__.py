"""Retrains models that a controller serves, on Prefect."""
