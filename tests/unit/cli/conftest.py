"""The command line is built once for all of these tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.support.one_command_line  # noqa: F401
from tests.support.device_command_line import DeviceCommandLine, device_command_line


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeviceCommandLine]:
    """Runs commands against a controller with the project ``warehouse``."""
    with device_command_line(tmp_path, monkeypatch) as made:
        yield made
