"""The route table: replaced whole, read without a lock.

Looked up by the raw path as it came, so only the one canonical spelling of a path finds a model.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from model_deployment.domain import Route, Traffic
from model_deployment.proxy.upstream import Upstream


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
        task = asyncio.get_running_loop().create_task(upstream.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
