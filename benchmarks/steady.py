"""Requests at a fixed rate, so that nobody waits for a slow moment to pass."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import Any

from load import HOST


async def calls(
    port: int, request: bytes, seconds: float, *, rate: float, connections: int
) -> tuple[list[float], int]:
    """Send one request again and again.

    Args:
        rate: requests per second, on all connections together.

    Returns:
        Latencies in milliseconds, from when a request was due, and how many answers were not 200.
    """
    latencies: list[float] = []
    failed = 0
    begin = time.perf_counter()

    async def caller(number: int) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection(HOST, port)
        due = begin + number / rate
        while due < begin + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            latencies.append((time.perf_counter() - due) * 1e3)
            failed += not head.startswith(b"HTTP/1.1 200 ")
            due += connections / rate
        writer.close()

    await asyncio.gather(*(caller(number) for number in range(connections)))
    return latencies, failed


def median(rounds: Sequence[Any], what: str) -> float:
    """The median of one figure over some rounds."""
    return statistics.median(getattr(one, what) for one in rounds)
