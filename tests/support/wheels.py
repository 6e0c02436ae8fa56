"""Programs that come in wheels of their own."""

import importlib.metadata
import os
from pathlib import Path

from tests.support.missing import missing


def program(wheel: str, name: str) -> Path:
    """Where a wheel put a program; without it the test is skipped, and fails in CI."""
    try:
        files = importlib.metadata.files(wheel) or []
    except importlib.metadata.PackageNotFoundError:
        missing(f"{wheel} is not installed")
    for file in files:
        if file.name == name:
            path = Path(str(file.locate()))
            if os.access(path, os.X_OK):
                return path
    return missing(f"{wheel} has no {name} for this machine")
