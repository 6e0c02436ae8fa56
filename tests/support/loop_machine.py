"""A state machine of Hypothesis whose rules run on an event loop of their own."""

import asyncio
from collections.abc import Awaitable
from contextlib import ExitStack
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine


class LoopMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ends = ExitStack()
        self.loop = asyncio.new_event_loop()
        self.ends.callback(self.loop.close)
        self.healthy = True

    def do(self, work: Awaitable[Any]) -> Any:
        """Run something on the loop; after a failure nothing more is to be learned."""
        self.healthy = False
        result = self.loop.run_until_complete(work)
        self.healthy = True
        return result
