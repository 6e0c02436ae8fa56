"""Tells the proxy where requests go: one route for each deployment that is not stopped."""

from collections.abc import Callable, Sequence

from model_deployment.core.domain import Deployment, Desired, Route, State

#: States that requests are kept waiting in, where the deployment may be parked, or comes back.
_AWAITED = frozenset({State.PENDING, State.STARTING, State.STOPPING, State.PARKED})


class Publisher:
    """What the proxy was told last, and whether it took it."""

    def __init__(self, publish: Callable[[Sequence[Route]], bool]) -> None:
        """Of one proxy.

        Args:
            publish: replaces its route table; False if one of them cannot serve yet.
        """
        self._tell = publish
        self._published: list[Route] = []
        #: False if a route could not be published, and has to be tried again.
        self._whole = True
        #: Nothing is to be started any more.
        self.closing = False

    def publish(self, rows: Sequence[Deployment]) -> None:
        """Replace all routes, if they are others."""
        self._publish([self._route(row) for row in rows if row.state is not State.STOPPED])

    def publish_anew(self, row: Deployment) -> None:
        """One route at once, and not with the end of the tick: a drain begins without new requests."""
        self._publish([self._route(row) if r.key == row.key else r for r in self._published])

    def _publish(self, routes: list[Route]) -> None:
        if routes != self._published or not self._whole:
            self._published = routes
            self._whole = False
            self._whole = self._tell(routes)

    def _route(self, row: Deployment) -> Route:
        wanted = row.desired is Desired.RUNNING and not self.closing
        comes = row.proven or row.options.idle_timeout > 0
        ready = row.state is State.READY and row.handle is not None
        return Route(
            key=row.key,
            state=row.state,
            launch_id=row.launch_id,
            endpoint=row.handle.endpoint if ready and row.handle else None,
            session=row.session,
            reason=row.reason,
            options=row.options,
            artifact=row.artifact,
            waits=wanted and comes and row.state in _AWAITED,
        )
