"""Tells the world of a rollout that has ended: the operator's webhook, and the registry."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from model_deployment.alerts.alert import Alert, AlertKind
from model_deployment.alerts.background import BackgroundNews
from model_deployment.core.endpoints import Endpoint, Rollout, RolloutState

_log = logging.getLogger(__name__)

#: Writes tags on the versions, and the comparison as metrics; returns what could not be written, in words.
WriteBack = Callable[[Endpoint, Rollout, Mapping[str, Any]], Awaitable[str]]

_ENDS = {
    RolloutState.PROMOTED: (AlertKind.ROLLOUT_PROMOTED, "serves"),
    RolloutState.ROLLED_BACK: (AlertKind.ROLLOUT_ROLLED_BACK, "was rolled back"),
    RolloutState.SUPERSEDED: (AlertKind.ROLLOUT_SUPERSEDED, "was superseded"),
}


class RolloutNews:
    """Tells in the background: nobody waits for it, and a failure changes nothing."""

    def __init__(
        self,
        call: Callable[[Alert], Awaitable[None]],
        compare: Callable[[Endpoint, Rollout], Awaitable[dict[str, Any]]],
        write_back: WriteBack | None,
        told: Callable[[Rollout], Awaitable[None]],
    ) -> None:
        """
        Args:
            told: notes that a rollout need not be told of any more.
            call: calls the webhook.
            write_back: None: nothing is written to the registry.
        """
        self._call = call
        self._compare = compare
        self._write_back = write_back
        self._told = told
        self._background = BackgroundNews()

    def tell(self, endpoint: Endpoint, rollout: Rollout) -> None:
        """Begin to tell of a rollout, unless that is under way."""
        what = rollout.id, str(rollout.state)
        self._background.begin(what, lambda: self._tell(endpoint, rollout))

    async def close(self) -> None:
        await self._background.close()

    async def _tell(self, endpoint: Endpoint, rollout: Rollout) -> None:
        try:
            await self._call(_alert(endpoint, rollout))
            if self._write_back is not None:
                compared = await self._compare(endpoint, rollout)
                if left_out := await self._write_back(endpoint, rollout, compared):
                    _log.warning(
                        "the registry does not know of rollout %s: %s", rollout.id, left_out
                    )
        except Exception:
            _log.exception("cannot tell of rollout %s of %s", rollout.id, endpoint.name)
        await self._told(rollout)


def _alert(endpoint: Endpoint, rollout: Rollout) -> Alert:
    kind, fate = _ENDS[rollout.state]
    return Alert(
        kind,
        endpoint.key(rollout.candidate),
        f"{endpoint.name}: version {rollout.candidate} {fate}",
        rollout.reason,
        {
            "endpoint": str(endpoint.name),
            "rollout": rollout.id,
            "state": str(rollout.state),
            "champion": rollout.champion,
        },
    )
