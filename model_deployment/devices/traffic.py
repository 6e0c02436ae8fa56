"""What one device served, by the minute, as it sent it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from model_deployment.core.devices import Device
from model_deployment.devices.stored_documents import day_of_device
from model_deployment.documents.base import Collection, Query
from model_deployment.documents.owner_view import DocumentSource

#: Minutes that are read at most: two days of a device that changes its release in each of them.
_MINUTES = 5760


class DeviceTraffic:
    """Reads the minutes of a device."""

    def __init__(self, store: DocumentSource, *, instance: str) -> None:
        """
        Args:
            instance: names the controller's data directory, as where documents are written.
        """
        self._store = store
        self._instance = instance

    async def minutes(
        self, device: Device, since: datetime, until: datetime
    ) -> Sequence[tuple[datetime, Mapping[str, Any]]]:
        """The minutes of a span of time, oldest first, with their counts.

        Raises:
            StoreUnavailable: the document store does not answer.
        """
        documents = await self._store.opened()
        days = {
            day_of_device(self._instance, device.id, since + timedelta(days=number))
            for number in range((until - since).days + 2)
        }
        query = Query(
            Collection.DEVICE_TRAFFIC,
            since=since,
            until=until,
            request_ids=sorted(days),
            newest_first=True,
            limit=_MINUTES,
        )
        return [(found["ts"], found) async for found in documents.find(query)][::-1]
