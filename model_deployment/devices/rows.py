"""The rows of devices as connections and polling devices use them."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from model_deployment.core.releases import Release
from model_deployment.state.device_commands import CommandStore
from model_deployment.state.device_projects import DeviceProjectStore
from model_deployment.state.devices import DeviceStore
from model_deployment.state.releases import ReleaseStore


@dataclass(frozen=True, slots=True)
class DeviceRows:
    """What is read of devices, and written."""

    projects: DeviceProjectStore
    devices: DeviceStore
    releases: ReleaseStore
    commands: CommandStore
    #: The id of the key that signs releases.
    key_id: Callable[[], str]

    async def offer(self, wanted: Mapping[int, Release]) -> None:
        """Write that devices, by id, were told of a release."""
        told: dict[int, list[int]] = defaultdict(list)
        for device_id, release in wanted.items():
            told[release.id].append(device_id)
        for release in {one.id: one for one in wanted.values()}.values():
            await self.releases.offer(release, told[release.id])
