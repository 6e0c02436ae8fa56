"""The use cases: deploy, undeploy, get, list, and wait for a state."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from model_deployment.control.option_checks import UNCHECKED, OptionChecks
from model_deployment.control.reconciler import Reconciler
from model_deployment.control.room import AskSize, Room, ask_nobody
from model_deployment.core.admission import Admission
from model_deployment.core.domain import Deployment, Desired, State
from model_deployment.core.errors import (
    Conflict,
    NoFreePort,
    NotDeployed,
    Unavailable,
)
from model_deployment.core.events import Event
from model_deployment.core.names import ModelKey
from model_deployment.core.option_changes import described, measured_alike
from model_deployment.core.options import OptionOverrides, Options
from model_deployment.core.port_usage import PortUsage
from model_deployment.core.replica_counts import stuck_launch
from model_deployment.registry.client import Registry
from model_deployment.state.deployments import Deployments
from model_deployment.state.ports import Ports


async def _at_once() -> None:
    pass


class Controller:
    """Writes desired states, and reads what the control loop makes of them."""

    def __init__(
        self,
        *,
        deployments: Deployments,
        ports: Ports,
        registry: Registry,
        reconciler: Reconciler,
        admission: Admission,
        defaults: Options,
        renewed: Callable[[ModelKey], None] = lambda key: None,
        needed: Callable[[ModelKey], bool] = lambda key: False,
        routed: Callable[[], Awaitable[None]] = _at_once,
        checks: OptionChecks = UNCHECKED,
        ask_size: AskSize = ask_nobody,
    ) -> None:
        """Put together.

        Args:
            defaults: options of a deploy call that names none.
            renewed: called when a name begins to stand for another model.
            needed: whether a deployment may not be parked to make room.
            routed: waits until all proxies route as the rows say. What is shown as ready can be asked, and
                what is shown as stopped cannot, through every proxy.
            checks: of options that a deployment is to get.
            ask_size: finds out how large artifacts are that were not downloaded yet, if it can.
        """
        self._deployments = deployments
        self.room = Room(
            deployments=deployments,
            ports=ports,
            admission=admission,
            needed=needed,
            ask_size=ask_size,
        )
        self._registry = registry
        self._reconciler = reconciler
        self.defaults = defaults
        self._renewed = renewed
        self._routed = routed
        self.checks = checks
        #: The controller is shutting down.
        self.closing = False

    async def deploy(
        self,
        key: ModelKey,
        overrides: OptionOverrides,
        wait: float,
        *,
        by: str | None = None,
        admit: bool = True,
        wanted: Callable[[ModelKey], Awaitable[None]] | None = None,
    ) -> Deployment:
        """Want a model version to be served; wait until it is ready or failed.

        Args:
            by: the user, or ``endpoint <name>``.
            admit: whether it is refused where memory has no room; else its start is put off.
            wanted: called before the wait, when it is certain that the version is wanted.

        Returns:
            The deployment as it is after at most ``wait`` seconds.

        Raises:
            InvalidName: its name is reserved, and it is not deployed already.
            UnknownModel, RegistryUnavailable: the registry has no such version, or does not answer.
            InvalidRequest, CannotStart: its options do not fit each other, or this machine.
            NoFreePort: as many deployments as ports.
            NotEnoughMemory: memory has no room for it.
            Conflict: deployed with other options, or undeployed while waiting.
        """
        row = await self._deployments.get(key)
        if row is None or row.desired is Desired.STOPPED or row.state is State.FAILED:
            row = await self._want_running(key, overrides, by, admit=admit)
        if difference := described(row.options, overrides.apply_to(row.options)):
            raise Conflict(
                f"cannot deploy {key} with other options: it is deployed already, and this would change "
                f"{difference}; change it in place with replace=true",
                extra={"options": row.options.as_dict()},
            )
        if row.state is State.PARKED or row.parking:
            if admit:
                await self.room.check_memory(key, row.options, row.memory, row.artifact)
            row = await self._deployments.wake(key) or row
            self._tell()
        elif row.replacement is not None and row.replacement.is_over:
            await self._deployments.forget_failure(key)
            self._tell()
        if wanted is not None:
            await wanted(key)
        row = await self.wait(
            key,
            lambda r: self._is_deployed(r) or r.desired is Desired.STOPPED,
            wait,
        )
        if row.desired is Desired.STOPPED:
            raise Conflict(f"cannot deploy {key}: it was undeployed in the meantime")
        return row

    def _is_deployed(self, row: Deployment) -> bool:
        """Whether a deploy has nothing to wait for any more."""
        # Parked counts: it was ready, and was idle since.
        return row.settled and row.state is not State.STOPPED and self.is_complete(row)

    def is_complete(self, row: Deployment) -> bool:
        """Whether a deployment has all its replicas, as far as it gets them without further delay."""
        if row.state is not State.READY or len(row.ready) >= row.replicas:
            return True
        return self.is_held_up(row)

    def is_held_up(self, row: Deployment) -> bool:
        """Whether its next replica comes late: a launch has failed, or memory has no room."""
        return stuck_launch(row) is not None or bool(self._reconciler.held_up(row.key))

    async def _want_running(
        self, key: ModelKey, overrides: OptionOverrides, by: str | None, *, admit: bool
    ) -> Deployment:
        ModelKey.of(
            key.model, key.version
        )  # only a deployment that exists may have a reserved name
        version = await self._registry.version(key)
        if version.status != "READY":
            raise Conflict(f"cannot deploy {key}: its status in the registry is {version.status}")
        options = overrides.apply_to(self.defaults)
        before = await self._deployments.get(key)
        await self.checks.check(f"deploy {key}", options, starts=True)
        alike = before is not None and measured_alike(before, options, version.artifact)
        if admit:
            known = before.memory if before and alike else None
            await self.room.check_memory(key, options, known, version.artifact)
        usage = await self.room.usage()
        try:
            row, _ = await self._deployments.want_running(
                key, options, version.artifact, usage.usable, by
            )
        except NoFreePort as error:
            raise self.room.without_port(f"deploy {key}", error, usage) from None
        if before is not None and before.artifact != row.artifact:
            self._renewed(key)
        self._tell()
        return row

    def memory_needed(self, row: Deployment) -> int:
        """Bytes of memory that the next launch of a deployment is expected to need."""
        admission = self.room.admission
        return (
            admission.need(row.options, row.memory, row.artifact)
            + admission.parent(row.artifact, row.options)[1]
        )

    async def undeploy(self, key: ModelKey, wait: float) -> Deployment:
        """Want a deployment to be stopped; wait until it is.

        Raises:
            NotDeployed: there is no such deployment.
            Conflict: it was deployed again while waiting.
        """
        if await self._deployments.want_stopped(key) is None:
            raise _unknown(key)
        self._tell()
        row = await self.wait(
            key, lambda r: r.state is State.STOPPED or r.desired is Desired.RUNNING, wait
        )
        if row.desired is Desired.RUNNING:
            raise Conflict(f"cannot undeploy {key}: it was deployed again in the meantime")
        return row

    async def get(self, key: ModelKey) -> Deployment:
        """One deployment.

        Raises:
            NotDeployed: there is no such deployment.
        """
        row = await self._deployments.get(key)
        if row is None:
            raise _unknown(key)
        await self._routed()
        return row

    async def all(self, *, stopped: bool = False) -> list[Deployment]:
        """All deployments; stopped ones only if ``stopped``."""
        rows = await self._deployments.all()
        await self._routed()
        return [row for row in rows if stopped or row.state is not State.STOPPED]

    async def events(self, key: ModelKey, limit: int) -> list[Event]:
        """What happened to a deployment, newest first.

        Raises:
            NotDeployed: there is no such deployment.
        """
        await self.get(key)
        return await self._deployments.events(key, limit)

    async def last_launch(self, key: ModelKey) -> str | None:
        """Id of the launch that serves or starts, else of the newest one: its log is the one to read."""
        row = await self._deployments.get(key)
        if row is not None and row.launch_id is not None:
            return row.launch_id
        return await self._deployments.last_launch(key)

    async def ports(self) -> PortUsage:
        return await self.room.usage()

    async def wait(
        self, key: ModelKey, done: Callable[[Deployment], bool], limit: float
    ) -> Deployment:
        """The deployment, once it is ``done`` or ``limit`` seconds have passed.

        Raises:
            Unavailable: the controller is stopping.
        """
        end = time.monotonic() + limit
        while True:
            changed = self._reconciler.changed  # before the read, so that no change is missed
            row = await self.get(key)
            left = end - time.monotonic()
            if done(row) or left <= 0:
                return row
            if self.closing:
                raise Unavailable(
                    f"cannot wait for {key}: the controller is stopping", retry_after=5
                )
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                return await self.get(key)

    async def change(self, limit: float) -> None:
        """Wait until a row has changed, for at most ``limit`` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._reconciler.changed.wait()

    def stop_waiting(self) -> None:
        """End all waits: the controller is shutting down."""
        self.closing = True
        self._reconciler.announce()

    def _tell(self) -> None:
        self._reconciler.wake()
        self._reconciler.announce()


def _unknown(key: ModelKey) -> NotDeployed:
    return NotDeployed(
        f"cannot find {key}: it is not deployed; POST /deploy/{key.model}/{key.version}"
    )
