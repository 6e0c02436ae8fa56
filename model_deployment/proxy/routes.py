"""The route table: replaced whole, read without a lock.

Looked up by the raw path as it came, so only the one canonical spelling of a path finds a model.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from model_deployment.domain import Endpoint, Route, Traffic


class Upstream:
    """One launch as the proxy knows it: a pool of connections, and counters."""

    def __init__(self, endpoint: Endpoint, *, connections: int, read_timeout: float) -> None:
        self.url = f"{endpoint.url}/invocations"
        #: Requests beyond the pool wait here, where their age does not count against the model.
        self.slots = asyncio.Semaphore(connections)
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=15, enable_cleanup_closed=False
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=read_timeout),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            raise_for_status=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        #: Requests that have a caller and no complete answer yet, the waiting ones included.
        self.open = 0
        self._clock = asyncio.get_running_loop().time
        self._under_way: dict[int, float] = {}
        self._numbers = 0
        self._answered = 0
        self._timeouts_in_row = 0

    def begin(self) -> int:
        """Note that a request is about to be sent to the model."""
        self._numbers += 1
        self._under_way[self._numbers] = self._clock()
        return self._numbers

    def end(self, number: int, status: int | None) -> None:
        """Note how it ended: the status of the answer, 504 if none came in time, None if cut off."""
        del self._under_way[number]
        if status == 504:
            self._timeouts_in_row += 1
        elif status is not None:
            self._answered += 1
            self._timeouts_in_row = 0

    def traffic(self) -> Traffic:
        """The counters."""
        # Numbers rise, and a dict keeps their order: the first one is the oldest.
        oldest = next(iter(self._under_way.values()), None)
        return Traffic(
            in_flight=self.open,
            oldest=0.0 if oldest is None else self._clock() - oldest,
            answered=self._answered,
            timeouts_in_row=self._timeouts_in_row,
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """What a path leads to. ``upstream`` is None while the deployment does not serve."""

    route: Route
    upstream: Upstream | None


class Routes:
    """The table in force, and the upstreams behind it."""

    def __init__(self, *, connections: int, read_timeout: float) -> None:
        self._connections = connections
        self._read_timeout = read_timeout
        self._table: dict[bytes, Entry] = {}
        self._upstreams: dict[str, Upstream] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def publish(self, routes: Sequence[Route]) -> None:
        """Replace the table. A launch that is in no route any more loses its connections."""
        table: dict[bytes, Entry] = {}
        for route in routes:
            entry = Entry(route, self._upstream(route))
            path = route.key.path.encode("ascii")
            table[path] = entry
            table[path + b"/invocations"] = entry
        self._table = table
        launches = {route.launch_id for route in routes}
        for launch_id in self._upstreams.keys() - launches:
            self._close(self._upstreams.pop(str(launch_id)))

    def lookup(self, raw_path: bytes) -> Entry | None:
        """The entry of a path as it came over the wire."""
        return self._table.get(raw_path)

    def traffic(self, launch_id: str) -> Traffic:
        """What was seen of a launch."""
        upstream = self._upstreams.get(launch_id)
        return upstream.traffic() if upstream else Traffic()

    async def close(self) -> None:
        """Drop all connections."""
        self.publish([])
        await asyncio.gather(*self._closing)

    def _upstream(self, route: Route) -> Upstream | None:
        if route.endpoint is None or route.launch_id is None:
            return None
        upstream = self._upstreams.get(route.launch_id)
        if upstream is None:
            upstream = Upstream(
                route.endpoint, connections=self._connections, read_timeout=self._read_timeout
            )
            self._upstreams[route.launch_id] = upstream
        return upstream

    def _close(self, upstream: Upstream) -> None:
        task = asyncio.get_running_loop().create_task(upstream.session.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
