"""Tells the proxies where requests go: one route for each deployment that is not stopped."""

import operator
from collections.abc import Callable, Sequence

from model_deployment.core.domain import Deployment, Desired, Launch, LaunchState, State
from model_deployment.core.routes import Route, Target

#: States in which requests wait, where the deployment may be parked or comes back.
_WAITING = frozenset({State.PENDING, State.STARTING, State.STOPPING, State.PARKED})


class Publisher:
    """The routes that the proxies were given last, and whether all of them took all routes."""

    def __init__(self, publish: Callable[[Sequence[Route]], bool]) -> None:
        """
        Args:
            publish: replaces the route table of every proxy; False until all proxies serve all routes.
        """
        self._replace_routes = publish
        self._published: list[Route] = []
        #: What the routes were made from, while they are the published ones.
        self._rows: Sequence[Deployment] = ()
        self._closing = False
        #: An empty table has to be published too, once.
        self._complete = False

    def publish(self, rows: Sequence[Deployment], *, closing: bool) -> None:
        """Replace all routes, if they differ from those published or were not all taken."""
        if self._complete and closing == self._closing and _are_same(rows, self._rows):
            return
        self._publish([_route(row, closing) for row in rows if row.state is not State.STOPPED])
        self._rows, self._closing = [*rows], closing

    def publish_one(self, row: Deployment, *, closing: bool) -> None:
        """Replace one route now, before the end of the tick: no new request reaches what drains."""
        self._rows = ()
        new = _route(row, closing)
        self._publish([new if route.key == row.key else route for route in self._published])

    def _publish(self, routes: list[Route]) -> None:
        if routes != self._published or not self._complete:
            self._published = routes
            self._complete = False
            self._complete = self._replace_routes(routes)


def _are_same(rows: Sequence[Deployment], others: Sequence[Deployment]) -> bool:
    """Whether these are the same objects: unchanged rows are, and are compared a thousand times faster."""
    return len(rows) == len(others) and all(map(operator.is_, rows, others))


def _route(row: Deployment, closing: bool) -> Route:
    wanted = row.desired is Desired.RUNNING and not closing
    comes_back = row.proven or row.options.idle_timeout > 0
    return Route(
        key=row.key,
        state=row.state,
        targets=tuple(target for one in row.serving if (target := _target(one)) is not None),
        reason=row.reason,
        options=row.options,
        artifact=row.artifact,
        max_batch_rows=row.merging_in_force.max_rows,
        waits=wanted and comes_back and row.state in _WAITING,
        retiring=tuple(
            Target(one.launch_id, one.session or one.launch_id)
            for one in row.retiring
            if one.launch_id is not None
        ),
    )


def _target(launch: Launch) -> Target | None:
    """A replica as proxies know it; None if no request was ever sent to its place."""
    if launch.state is LaunchState.READY and launch.handle is not None:
        return Target(
            launch.launch_id, launch.session or launch.handle.launch_id, launch.handle.address
        )
    return Target(launch.launch_id, launch.session) if launch.session is not None else None
