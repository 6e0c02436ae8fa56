"""A process manager that serves MLflow models on one machine."""

from importlib.metadata import PackageNotFoundError, version

__version__ = "0+unknown"  # of a source tree that was never installed
for _distribution in ("model-deployment", "model-deployment-client"):
    try:
        __version__ = version(_distribution)
        break
    except PackageNotFoundError:
        continue
