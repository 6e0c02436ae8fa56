"""The listening sockets of launches, from the start of a launch to the container that takes one."""

import asyncio

from model_deployment.runtime.container.folders import LaunchFolders
from model_deployment.runtime.container.hand_over import HandOver, somebody_listens


class Offers:
    """Offers each launch its socket, also those that an earlier controller did not get to offer it."""

    def __init__(self, folders: LaunchFolders) -> None:
        self._folders = folders
        #: By launch; None where it was found that somebody has the socket.
        self._offers: dict[str, HandOver | None] = {}

    def begin(self, launch_id: str) -> None:
        """Listen for a launch, and offer the socket.

        Raises:
            OSError: it cannot be listened.
        """
        self._offers[launch_id] = HandOver(self._folders.of(launch_id))

    async def adopt(self, launch_id: str) -> None:
        """Offer the socket of a launch of an earlier controller, unless somebody has it."""
        if launch_id in self._offers:
            return
        if await self._somebody_listens(launch_id):
            self._offers[launch_id] = None
        else:
            self.begin(launch_id)

    async def taken(self, launch_id: str) -> bool:
        """Whether the launch itself listens."""
        offer = self._offers.get(launch_id)
        # Until then it is this process that listens.
        taken = offer is None or offer.done
        return taken and await self._somebody_listens(launch_id)

    async def _somebody_listens(self, launch_id: str) -> bool:
        return await asyncio.to_thread(somebody_listens, self._folders.of(launch_id))

    async def withdraw(self, launch_id: str) -> None:
        """The launch is over."""
        offer = self._offers.pop(launch_id, None)
        if offer is not None:
            await offer.withdraw()

    async def close(self) -> None:
        """Sockets that were taken go on."""
        for launch_id in [*self._offers]:
            await self.withdraw(launch_id)
