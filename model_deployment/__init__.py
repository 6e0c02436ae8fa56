"""A process manager that serves MLflow models on one machine."""

from typing import TYPE_CHECKING

__version__: str

if not TYPE_CHECKING:

    def __getattr__(name: str) -> str:
        # Looked up when asked for: companions and model servers start in a quarter less time without.
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        found = "0+unknown"  # of a source tree that was never installed
        for distribution in ("model-deployment", "model-deployment-client"):
            try:
                found = version(distribution)
                break
            except PackageNotFoundError:
                continue
        globals()["__version__"] = found
        return found
