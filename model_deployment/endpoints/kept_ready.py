"""Which deployments must not be parked, since a rollout or the way back needs them."""

from collections.abc import Iterable

from model_deployment.core.domain import Deployment
from model_deployment.core.names import ModelKey


class KeptReady:
    """Written by the loop of endpoints, read by the one of deployments."""

    def __init__(self) -> None:
        self._keys: frozenset[ModelKey] = frozenset()
        self._launches: frozenset[str] = frozenset()

    def replace(self, keys: Iterable[ModelKey], rows: Iterable[Deployment]) -> None:
        self._keys = frozenset(keys)
        needed = (one.launch_id for row in rows if row.key in self._keys for one in row.launches)
        self._launches = frozenset(launch for launch in needed if launch is not None)

    def has(self, key: ModelKey) -> bool:
        return key in self._keys

    def has_launch(self, launch_id: str) -> bool:
        return launch_id in self._launches
