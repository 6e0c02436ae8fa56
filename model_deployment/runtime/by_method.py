"""Two runtimes behind one: launches of this machine, and those in containers.

The options choose the runtime of a new launch. Its handle names the runtime from then on, also after the
options have changed, and for the next controller.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from model_deployment.core.domain import Address, Exit, Handle, LaunchSpec
from model_deployment.core.measures import Memory, WorkerCounts
from model_deployment.core.options import Options
from model_deployment.runtime.base import PartlySeen, Runtime

#: Member of a handle's ``ref`` that names its runtime. Local launches have none: they are older than it.
_RUNTIME, _CONTAINER = "runtime", "container"


class RuntimeByMethod:
    """Implements :class:`~model_deployment.runtime.base.Runtime` with one runtime for each start method.

    A place that does not answer, such as an engine that is away, concerns its own launches only.
    """

    def __init__(self, local: Runtime, container: Runtime) -> None:
        """
        Args:
            local: has the ports of the pool.
            container: of launches with ``start_method=container``, which need no port.
        """
        self._local = local
        self._container = container

    def _for(self, options: Options) -> Runtime:
        return self._container if options.contained else self._local

    def _of(self, handle: Handle) -> Runtime:
        return self._container if handle.ref.get(_RUNTIME) == _CONTAINER else self._local

    def _named(self, handle: Handle, runtime: Runtime) -> Handle:
        """The handle with the name of its runtime."""
        if runtime is self._local:
            return handle
        return replace(handle, ref={**handle.ref, _RUNTIME: _CONTAINER})

    async def obstacle(self, options: Options) -> str:
        return await self._for(options).obstacle(options)

    def needs_port(self, options: Options) -> bool:
        return self._for(options).needs_port(options)

    def address(self, launch_id: str, port: int | None) -> Address:
        runtime = self._container if port is None else self._local
        return runtime.address(launch_id, port)

    def occupant(self, port: int) -> str | None:
        return self._local.occupant(port)

    def warming(self, options: Options, model_path: str = "") -> bool:
        return self._for(options).warming(options, model_path)

    def warming_reason(self, options: Options, model_path: str = "") -> str:
        return self._for(options).warming_reason(options, model_path)

    def holds(self, port: int) -> bool:
        return self._local.holds(port)

    async def release(self, port: int) -> None:
        await self._local.release(port)

    async def start(self, spec: LaunchSpec) -> Handle:
        runtime = self._for(spec.options)
        return self._named(await runtime.start(spec), runtime)

    async def poll(self, handle: Handle) -> Exit | None:
        return await self._of(handle).poll(handle)

    async def stop(self, handle: Handle, *, force: bool) -> None:
        await self._of(handle).stop(handle, force=force)

    def suspended(self, handle: Handle, options: Options) -> bool:
        return self._of(handle).suspended(handle, options)

    async def listening(self, handle: Handle) -> bool:
        return await self._of(handle).listening(handle)

    async def list(self) -> list[Handle]:
        seen: list[Handle] = []
        failed: list[OSError] = []
        for runtime in (self._local, self._container):
            try:
                found: Sequence[Handle] = await runtime.list()
            except OSError as error:
                failed.append(error)
                found = error.seen if isinstance(error, PartlySeen) else ()
            seen += [self._named(one, runtime) for one in found]
        if failed:
            raise PartlySeen("; ".join(map(str, failed)), seen) from failed[0]
        return seen

    async def find(self, launch_id: str, options: Options) -> Handle | None:
        runtime = self._for(options)
        found = await runtime.find(launch_id, options)
        return self._named(found, runtime) if found else None

    async def memory(self, handles: Sequence[Handle]) -> Mapping[str, Memory]:
        found: dict[str, Memory] = {}
        failed: list[OSError] = []
        for runtime in (self._local, self._container):
            if not (of_it := [one for one in handles if self._of(one) is runtime]):
                continue
            try:
                found |= await runtime.memory(of_it)
            except OSError as error:
                failed.append(error)
        if failed and not found:
            raise failed[0]
        return found

    def workers(self, handle: Handle) -> WorkerCounts | None:
        return self._of(handle).workers(handle)

    def identity(self, handle: Handle) -> Mapping[str, str | int]:
        return self._of(handle).identity(handle)

    async def update_log(self, launch_id: str) -> None:
        await self._local.update_log(launch_id)
        await self._container.update_log(launch_id)

    async def tail(self, launch_id: str, lines: int) -> str:
        return await self._container.tail(launch_id, lines) or await self._local.tail(
            launch_id, lines
        )

    async def tidy(self, keep: Iterable[str]) -> None:
        kept = [*keep]
        failed: list[OSError] = []
        # One after another: both may cut the same logs.
        for runtime in (self._local, self._container):
            try:
                await runtime.tidy(kept)
            except OSError as error:
                failed.append(error)
        if failed:
            raise failed[0]

    async def close(self) -> None:
        try:
            await self._local.close()
        finally:
            await self._container.close()
