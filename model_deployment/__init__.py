"""A process manager that serves MLflow models on one machine."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("model-deployment")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"
