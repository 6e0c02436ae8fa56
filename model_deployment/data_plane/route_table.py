"""The table that all proxies are to have: the routes of deployments and of endpoints, with one number."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model_deployment.core.endpoints import EndpointName, EndpointRoute
from model_deployment.core.routes import Route
from model_deployment.data_plane.counts import PlaneCounts
from model_deployment.data_plane.member import Member
from model_deployment.data_plane.usage_rows import UsageRows
from model_deployment.proxy import protocol
from model_deployment.proxy.protocol import Message


class RouteTable:
    """What was published last. There is no table before the first routes of deployments."""

    def __init__(self, rows: Path) -> None:
        """``rows``: see :class:`~model_deployment.data_plane.usage_rows.UsageRows`."""
        self.number = 0
        self.routes: list[Route] | None = None
        #: None until they are known: after a start, what proxies counted of rollouts is kept.
        self.endpoints: list[EndpointRoute] | None = None
        #: The endpoint that is asked at the path for time series.
        self.timeseries: EndpointName | None = None
        self._rows = UsageRows(rows)
        self._route_messages: list[Message] = []
        self._endpoint_messages: list[Message] = []

    def set_routes(self, routes: Sequence[Route]) -> None:
        self.routes = [*routes]
        rows = self._rows.assign(route.key for route in routes)
        self._route_messages = [
            protocol.route_message(replace(r, usage_row=rows[r.key])) for r in routes
        ]
        self.number += 1

    def set_endpoints(self, endpoints: Sequence[EndpointRoute]) -> None:
        self.endpoints = [*endpoints]
        self._endpoint_messages = [protocol.endpoint_message(one) for one in endpoints]
        if self.routes is not None:
            self.number += 1

    def set_timeseries(self, endpoint: EndpointName | None) -> None:
        self.timeseries = endpoint
        if self.routes is not None:
            self.number += 1

    def push(self, member: Member) -> None:
        """Send the table to a proxy that has not got it."""
        if self.routes is not None:
            asked = self.timeseries
            named = None if asked is None else (asked.model, asked.alias)
            member.push(self.number, self._route_messages, self._endpoint_messages, named)

    def trim(self, counts: PlaneCounts) -> None:
        """Forget what was counted of anything that is not in the table."""
        if self.routes is not None:
            targets = (one for r in self.routes for one in (*r.targets, *r.retiring))
            launches = {one.launch_id for one in targets if one.launch_id is not None}
            counts.keep({one.key for one in self.routes}, launches)
        if self.endpoints is not None:
            counts.keep_rollouts({one.rollout for one in self.endpoints})
