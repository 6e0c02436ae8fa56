"""Applications with some of the calls, for the tests of these."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from model_deployment.core.releases import Release
from tests.support.device_caller import DeviceCaller, device_caller
from tests.support.release_front import ReleaseFront, publish, release_front


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[DeviceCaller]:
    """Asks a controller with the project ``warehouse`` of the model ``diabetes``."""
    async with device_caller(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def shared_release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Release]:
    """A release, and the folder of its files, which no test changes."""
    folder = tmp_path_factory.mktemp("published")
    return folder, publish(folder)


@pytest.fixture
async def front(shared_release: tuple[Path, Release]) -> AsyncIterator[ReleaseFront]:
    """Of files that all tests share, and none changes."""
    async with release_front(*shared_release) as made:
        yield made


@pytest.fixture
def own_release(tmp_path: Path) -> Release:
    return publish(tmp_path)


@pytest.fixture
async def own(tmp_path: Path, own_release: Release) -> AsyncIterator[ReleaseFront]:
    """Of files of this test alone."""
    async with release_front(tmp_path, own_release) as made:
        yield made
