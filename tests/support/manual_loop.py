"""The reconciler with no clock but the machine's: where it would wait, time goes by there."""

import asyncio
import contextlib
from typing import Any

from model_deployment.control.reconciler import Reconciler
from tests.support.fake_machine import FakeMachine


class ManualLoop(Reconciler):
    """A reconciler for which waiting is time going by on the machine."""

    def __init__(self, machine: FakeMachine, **collaborators: Any) -> None:
        super().__init__(**collaborators)
        self._machine = machine

        self._rounds: int | None = None

    async def run_for(self, rounds: int) -> None:
        """``run``, cancelled after so many ticks if nobody does it earlier."""
        self._rounds = rounds
        with contextlib.suppress(asyncio.CancelledError):
            await self.run()
        self._rounds = None

    async def _wait(self, pause: float) -> None:
        if self._rounds is not None:
            self._rounds -= 1
            if not self._rounds:
                raise asyncio.CancelledError
        if not self._wake.is_set():
            self._machine.advance(pause)
