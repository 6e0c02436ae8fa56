"""What the proxies are told: where requests of each deployment go. Values without effects."""

from dataclasses import dataclass

from model_deployment.core.domain import Address, State
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options


@dataclass(frozen=True, slots=True)
class Target:
    """A launch that requests are sent to; ``address`` is None while the next one starts at its port."""

    launch_id: str | None
    #: Id of what requests are sent to, where several launches share a port.
    session: str
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """What each proxy knows of one deployment.

    It serves if one of its targets has an address. If ``waits`` is set, requests meanwhile wait: the first
    one wakes the deployment.
    """

    key: ModelKey
    state: State
    #: The replicas that are ready, or were at a port that is still theirs.
    targets: tuple[Target, ...] = ()
    reason: str = ""
    options: Options = Options()
    #: Names the model's local files, for its signature.
    artifact: str = ""
    waits: bool = False
    #: Its row in the table of limits that all proxies share.
    usage_row: int = 0
    #: Rows of a merged call, at most; 0: requests are not merged.
    max_batch_rows: int = 0
    #: Launches that finish their requests, without an address.
    retiring: tuple[Target, ...] = ()

    @property
    def serves(self) -> bool:
        """Whether requests can be sent to the model now."""
        return any(one.address is not None for one in self.targets)
