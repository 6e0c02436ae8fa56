"""The settings, read from the environment. No other room reads the environment."""

from model_deployment.settings.load import load, misspelt
from model_deployment.settings.settings import Settings
from model_deployment.settings.table import settings_table

__all__ = ["Settings", "load", "misspelt", "settings_table"]
