"""Tells news in the background: nobody waits for it, and the same news is on its way once."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class BackgroundNews:
    """The tasks of news that are on their way."""

    def __init__(self) -> None:
        #: By id and state of what has ended.
        self._tasks: dict[tuple[int, str], asyncio.Task[None]] = {}

    def begin(self, what: tuple[int, str], tell: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin to tell, unless that is under way."""
        if what not in self._tasks:
            task = asyncio.create_task(tell(), name=f"news of {what[0]}: {what[1]}")
            self._tasks[what] = task
            task.add_done_callback(lambda _: self._tasks.pop(what, None))

    async def close(self) -> None:
        """End what is on its way."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
