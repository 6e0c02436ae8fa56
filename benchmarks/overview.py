"""What an open overview costs the controller: processor time, and bytes that a page is sent.

The deployments are made up, so that only the dashboard is measured: a hundred ready ones, fifty of them
busy, and three hundred parked ones. Run it from the top folder: ``python -m benchmarks.overview``.
"""

import asyncio
import time
from collections.abc import AsyncIterator

from model_deployment.dashboard.hub import Hub, gzip
from model_deployment.dashboard.pages import Pages
from tests.support.crowd import crowd
from tests.support.dashboard_app import dependencies
from tests.support.endpoint_views import MemoryEndpoints

SECONDS = 30
#: Seconds of the warm-up, in which the page gets everything.
FIRST = 3


async def main() -> None:
    seen = crowd()
    given = dependencies(MemoryEndpoints(), crowd=seen)
    given.controller.change = _wait  # type: ignore[method-assign, assignment]
    hub = Hub(given, Pages(given.identify).text, "build")
    task = asyncio.create_task(hub.run())
    plain: list[int] = []
    packed: list[int] = []

    async def read() -> None:
        with hub.page(None):
            async for event in gzip(note_sizes(hub.events(), plain)):
                packed.append(len(event))

    reader = asyncio.create_task(read())
    await asyncio.sleep(FIRST)
    print(f"everything: {sum(plain):,} bytes, {sum(packed):,} gzipped")
    plain.clear()
    packed.clear()
    began, spent = time.monotonic(), time.process_time()
    while time.monotonic() - began < SECONDS:
        seen.passes()
        await asyncio.sleep(5)
    passed, used = time.monotonic() - began, time.process_time() - spent
    print(f"processor: {100 * used / passed:.2f} % of a core with one page open")
    print(f"changes: {sum(plain) / passed:,.0f} bytes/s, {sum(packed) / passed:,.0f} gzipped")
    for one in (reader, task):
        one.cancel()


async def note_sizes(events: AsyncIterator[bytes], sizes: list[int]) -> AsyncIterator[bytes]:
    async for event in events:
        sizes.append(len(event))
        yield event


async def _wait(limit: float) -> None:
    """Nothing changes but figures."""
    await asyncio.sleep(limit)


if __name__ == "__main__":
    asyncio.run(main())
