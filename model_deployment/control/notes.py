"""Texts for the events of deployments, kept until they are written."""

import logging
from collections import deque
from collections.abc import Sequence

from model_deployment.control.adoption import log_fields
from model_deployment.core.domain import Deployment
from model_deployment.core.names import ModelKey
from model_deployment.state.deployments import Deployments

_log = logging.getLogger(__name__)


class Notes:
    """What is to be noted, oldest first."""

    def __init__(self, deployments: Deployments) -> None:
        self._deployments = deployments
        self._texts: deque[tuple[ModelKey, str, int]] = deque()

    def add(self, key: ModelKey, text: str, level: int = logging.WARNING) -> None:
        """Have a text written among the events of a deployment.

        Args:
            level: that of the line in the log.
        """
        self._texts.append((key, text, level))

    async def write(self, rows: Sequence[Deployment]) -> None:
        """Write all texts; those of deployments that are gone are dropped.

        Raises:
            DatabaseError: a text could not be written; it and those after it are kept.
        """
        known = {row.key: row for row in rows} if self._texts else {}
        while self._texts:
            key, text, level = self._texts[0]
            if key in known:
                await self._deployments.note(known[key], text)
                _log.log(level, "%s", text, extra=log_fields(known[key]))
            self._texts.popleft()
