"""An agent that talks to a controller of the test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.agent_conversations import ConversationBench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[ConversationBench]:
    found = ConversationBench(tmp_path)
    yield found
    found.store.close()
