"""Whether memory and ports have room for launches that are asked for."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from model_deployment.core.admission import Admission
from model_deployment.core.domain import Deployment
from model_deployment.core.errors import NoFreePort, NotEnoughMemory
from model_deployment.core.names import ModelKey
from model_deployment.core.option_changes import measured_alike
from model_deployment.core.options import Options
from model_deployment.core.port_usage import PortUsage
from model_deployment.core.replacement import Strategy
from model_deployment.state.deployments import Deployments
from model_deployment.state.ports import Ports

_RECREATE = (
    "with strategy=recreate the launch that serves is stopped first, and requests wait for the new one as "
    "in a restart (MODEL_DEPLOYMENT_RECOVERY_TIMEOUT, then 503)"
)


#: Finds out how large the artifacts of a version are, if it can.
AskSize = Callable[[ModelKey, str], Awaitable[None]]


async def ask_nobody(key: ModelKey, artifact: str) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class Room:
    """Refuses what has no room, before it is written."""

    deployments: Deployments
    ports: Ports
    admission: Admission
    #: Whether a deployment may not be parked to make room.
    needed: Callable[[ModelKey], bool]
    #: Finds out how large artifacts are that were not downloaded yet, if it can.
    ask_size: AskSize = ask_nobody

    async def usage(self) -> PortUsage:
        """How many ports are in use now."""
        return await self.ports.usage(time.monotonic())

    async def shortage(
        self, key: ModelKey, options: Options, measured: int | None, artifact: str = ""
    ) -> str:
        """Why memory has no room for one more launch of a deployment; empty if it has.

        Args:
            measured: bytes that such a launch took before; None if that is not known.
            artifact: what it is to load; empty: that of the deployment, where there is one.
        """
        if measured is None and artifact and self.admission.margin:
            await self.ask_size(key, artifact)
        rows = await self.deployments.all()
        rows = [one.unparkable if self.needed(one.key) else one for one in rows]
        return self.admission.shortage(key, options, measured, rows, artifact)

    async def check_memory(
        self, key: ModelKey, options: Options, measured: int | None, artifact: str
    ) -> None:
        """Check that memory has room for a deployment.

        Raises:
            NotEnoughMemory: it has not.
        """
        if shortage := await self.shortage(key, options, measured, artifact):
            raise NotEnoughMemory.of(f"deploy {key}", shortage)

    async def check_replicas(self, key: ModelKey, before: Options, after: Options) -> None:
        """Check that there are ports for the replicas that a deployment has with other options.

        Raises:
            NoFreePort: the deployments would need more ports than there are.
        """
        usage = await self.usage()
        try:
            await self.ports.check_change(key, before, after, usage.usable)
        except NoFreePort as error:
            raise self.without_port(f"change {key}", error, usage) from None

    async def check_second_launch(self, row: Deployment, options: Options) -> None:
        """Check that there is room for a launch beside those that serve.

        Raises:
            NotEnoughMemory, NoFreePort: there is none.
        """
        alike = measured_alike(row, options, row.artifact)
        shortage = await self.shortage(row.key, options, row.memory if alike else None)
        if shortage:
            raise NotEnoughMemory(
                f"cannot start a second launch of {row.key}: {shortage}; {_RECREATE}",
                retry_after=30,
                extra={"strategy": Strategy.RECREATE},
            )
        ports = await self.usage()
        parkable = any(other.options.idle_timeout for other in await self.deployments.all())
        if not (ports.free or ports.quarantined or parkable):
            raise NoFreePort(
                f"cannot start a second launch of {row.key}: no port is free; {_RECREATE}",
                retry_after=30,
                extra={"strategy": Strategy.RECREATE},
            )

    def without_port(self, what: str, error: NoFreePort, usage: PortUsage) -> NoFreePort:
        """The refusal, with what helps."""
        held = f"; {len(usage.blocked)} held by other programs" if usage.blocked else ""
        return NoFreePort(
            f"cannot {what}: no free port in {self.ports.name} ({error.detail}{held}). "
            "Undeploy a model, let models be parked (idle_timeout), or widen MODEL_DEPLOYMENT_PORTS",
            retry_after=error.retry_after,
        )
