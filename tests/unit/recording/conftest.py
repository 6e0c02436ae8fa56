"""Spools of captures, and a store for what a drain carries there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from model_deployment.recording.spool import Spool
from tests.support.drains import Store
from tests.support.spools import MEBIBYTE, OpenSpool


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    it = Spool(tmp_path, max_bytes=10**8)
    it.open()
    yield it
    it.close()


@pytest.fixture
def open_spool(tmp_path: Path) -> Iterator[OpenSpool]:
    """Opens several spools in one folder."""
    made: list[Spool] = []

    def open_one(max_bytes: int = MEBIBYTE, **more: int) -> Spool:
        made.append(Spool(tmp_path / "spool", max_bytes=max_bytes, **more))
        made[-1].open()
        return made[-1]

    yield open_one
    for one in made:
        one.close()
