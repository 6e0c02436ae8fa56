"""The state database that these tests work on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.stored import Store, opened


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(tmp_path) as store:
        yield store
