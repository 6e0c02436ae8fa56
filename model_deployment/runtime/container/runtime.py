"""The runtime of containers: each launch is a container of its own."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from model_deployment.core.domain import LOST, Address, Exit, Handle, LaunchSpec
from model_deployment.core.measures import Memory, WorkerCounts
from model_deployment.core.options import Options
from model_deployment.environments.environment import BuildFailed
from model_deployment.runtime.base import THREADS, OnExit, StartFailed
from model_deployment.runtime.container import ends
from model_deployment.runtime.container import spec as of_launch
from model_deployment.runtime.container.build import Builder, programs
from model_deployment.runtime.container.calls import Calls
from model_deployment.runtime.container.container_settings import ContainerSettings
from model_deployment.runtime.container.engine import Engine, Missing, Seen
from model_deployment.runtime.container.environment import Recipe, digest_of, recipe
from model_deployment.runtime.container.folders import MODEL, OFFER, LaunchFolders
from model_deployment.runtime.container.host_paths import HostPaths
from model_deployment.runtime.container.images import Images, Making
from model_deployment.runtime.container.offers import Offers
from model_deployment.runtime.container.output import Output
from model_deployment.runtime.container.watch import Containers
from model_deployment.runtime.logs import LaunchLogs
from model_deployment.worker import contained

_log = logging.getLogger(__name__)

#: Seconds that the loop waits for the engine: to start or remove a container, for anything else.
_LONG, _SHORT = 20.0, 3.0
#: Seconds for which a launch is found paused before it counts as suspended.
_PAUSED = 2.0


class ContainerRuntime:
    """Implements :class:`~model_deployment.runtime.base.Runtime` with containers."""

    def __init__(
        self, settings: ContainerSettings, logs: LaunchLogs, on_exit: OnExit = lambda: None
    ) -> None:
        self._settings = settings
        self._logs = logs
        self._on_exit = on_exit
        self._calls = Calls()
        self._engine = Engine(settings.url)
        self._folders = LaunchFolders(settings.root.absolute())
        self._paths = HostPaths(self._engine)
        self._output = Output(self._engine, self._folders, logs)
        self._containers = Containers(self._engine, self._calls, settings.instance, on_exit)
        self._images = Images(
            builder=Builder(
                engine=Engine(settings.url, timeout=600),
                instance=settings.instance,
                network=settings.network,
                timeout=settings.build_timeout,
                index=settings.index(),
            ),
            used=settings.root / "images.json",
            changed=on_exit,
        )
        self._offers = Offers(self._folders)
        #: Launches that run, since when they are paused or None.
        self._watched: dict[str, float | None] = {}
        self._removals: set[asyncio.Task[None]] = set()

    # Before a launch

    async def obstacle(self, options: Options) -> str:
        self._containers.refresh()
        try:
            await self._containers.seen()
        except OSError as error:
            return (
                f"{error}; start Docker or Podman, have MODEL_DEPLOYMENT_CONTAINER_ENGINE name its socket, "
                "and let the controller use it"
            )
        return ""

    def needs_port(self, options: Options) -> bool:
        return False

    def address(self, launch_id: str, port: int | None) -> Address:
        return Address(of_launch.HOST, of_launch.PORT, self._folders.socket(launch_id))

    def occupant(self, port: int) -> str | None:
        return None

    def warming(self, options: Options, model_path: str = "") -> bool:
        self._containers.refresh()
        if self._containers.away != "":
            return True
        if not model_path:
            return False
        try:
            return isinstance(self._images.state(self._recipe(model_path)), Making)
        except OSError:  # start() tells it
            return False

    def warming_reason(self, options: Options, model_path: str = "") -> str:
        if self._containers.away is None:
            return "the container engine"
        if self._containers.away:
            return f"the container engine: {self._containers.away}"
        found = self._images.state(self._recipe(model_path)) if model_path else None
        progress = f" ({found.progress})" if isinstance(found, Making) and found.progress else ""
        return f"the image of the model's environment{progress}"

    def _recipe(self, model_path: str) -> Recipe:
        return recipe(Path(model_path), self._settings.base, self._programs)

    @cached_property
    def _programs(self) -> str:
        return digest_of(programs)

    # Ports: there are none

    def holds(self, port: int) -> bool:
        return False

    async def release(self, port: int) -> None:
        return

    # A launch

    async def start(self, spec: LaunchSpec) -> Handle:
        try:
            wanted = self._recipe(spec.model_path)
            image = self._images.take(wanted)
        except BuildFailed as error:
            raise StartFailed(str(error), permanent=error.permanent) from error
        name = of_launch.name_of(self._settings.instance, spec.launch_id)
        starting = asyncio.ensure_future(self._start(spec, name, image, wanted))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.gather(starting, return_exceptions=True)
            await self._discard(spec.launch_id, name)
            raise

    async def _start(self, it: LaunchSpec, name: str, image: str, wanted: Recipe) -> Handle:
        # From now on, tidy() leaves it alone.
        self._watched[it.launch_id] = None
        try:
            model = Path(it.model_path)
            folder = await asyncio.to_thread(self._folders.make, it.launch_id, model)
            self._offers.begin(it.launch_id)
            await asyncio.to_thread(
                self._output.begin,
                it.launch_id,
                f"container {name} of {wanted.repository}",
                time.time(),
            )
            container = await self._calls.make(
                lambda: self._create(it, name, (image, wanted.repository), folder), _LONG
            )
            self._containers.outdated()
            labels = {of_launch.IMAGE: wanted.repository, of_launch.THREADS: str(it.threads)}
            return self._handle(it.launch_id, name, container, labels)
        except BaseException as error:
            if isinstance(error, Missing):
                self._images.forget(wanted)
            await self._discard(it.launch_id, name)
            raise

    def _create(self, it: LaunchSpec, name: str, image: tuple[str, str], folder: Path) -> str:
        """In a thread: make and start the container; its id."""
        settings = self._settings
        places = of_launch.Places(self._paths.of(folder / MODEL), self._paths.of(folder / OFFER))
        body = of_launch.body(
            settings.instance, it, image, places, settings.environment(), settings.request_timeout
        )
        if settings.program:
            body["Env"].append(f"{contained.PROGRAM}={settings.program}")
        container = self._engine.create(name, body)
        self._engine.start(name)
        return container

    async def _discard(self, launch_id: str, name: str) -> None:
        """Leave nothing of a launch but its log; what cannot be removed now is removed by ``tidy``."""
        await self._forget(launch_id)
        try:
            await self._calls.make(lambda: self._engine.remove(name), _LONG)
            await asyncio.to_thread(self._folders.remove, launch_id)
        except OSError as error:
            _log.warning("cannot remove the container %s now: %s", name, error)
        self._containers.outdated()

    def _handle(self, launch_id: str, name: str, id: str, labels: Mapping[str, str]) -> Handle:
        ref = {"runtime": "container", "container": name, "id": id}
        marks = of_launch.marks_of(labels)
        return Handle(launch_id, self.address(launch_id, None), {**ref, **marks})

    async def poll(self, handle: Handle) -> Exit | None:
        launch_id = handle.launch_id
        try:
            one = (await self._containers.seen()).get(launch_id)
            if one is None or one.id != handle.ref.get("id"):
                await self._forget(launch_id)
                return LOST
            if not one.lives:
                return await self._ended(launch_id, one)
            await self._offers.adopt(launch_id)
            paused = self._watched.get(launch_id) or time.monotonic()
            self._watched[launch_id] = paused if one.state == "paused" else None
        except OSError as error:  # nothing can be known now
            _log.debug("cannot look at %s now: %s", launch_id, error)
        return None

    async def _ended(self, launch_id: str, one: Seen) -> Exit:
        details = await self._calls.make(lambda: self._engine.inspect(one.name), _SHORT)
        found = ends.of_container(details)
        with contextlib.suppress(OSError):  # what it wrote is a lot: fetched before it is removed
            await self.update_log(launch_id)
        await self._forget(launch_id)
        removal = asyncio.create_task(self._remove(launch_id, one.name), name="remove")
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)
        return found

    async def _remove(self, launch_id: str, name: str) -> None:
        """Discard what has ended; its last lines are in the log before."""
        try:
            await self._calls.make(lambda: self._output.fetch(launch_id, name), _LONG)
        except OSError as error:
            _log.warning("cannot fetch the last lines of %s: %s", name, error)
        await self._discard(launch_id, name)

    async def _forget(self, launch_id: str) -> None:
        self._watched.pop(launch_id, None)
        await self._offers.withdraw(launch_id)

    async def stop(self, handle: Handle, *, force: bool) -> None:
        name, signal = self._name(handle), "SIGKILL" if force else "SIGTERM"

        def send() -> None:
            self._engine.kill(name, signal)
            # A container that is paused gets no signal before it goes on.
            self._engine.unpause(name)

        await self._calls.make(send, _SHORT)
        self._containers.outdated()

    def _name(self, handle: Handle) -> str:
        # Not the id of the handle: a container that was made anew by hand is not the launch.
        return str(handle.ref.get("id") or handle.ref.get("container") or "-")

    def suspended(self, handle: Handle, options: Options) -> bool:
        since = self._watched.get(handle.launch_id)
        return since is not None and time.monotonic() - since > _PAUSED

    async def listening(self, handle: Handle) -> bool:
        ended = await self.poll(handle) is not None
        return not ended and await self._offers.taken(handle.launch_id)

    async def list(self) -> list[Handle]:
        # A launch has a folder before it has a container. An instance without containers needs no engine.
        if not await asyncio.to_thread(self._folders.launches):
            return []
        self._containers.outdated()
        return [
            self._handle(launch_id, one.name, one.id, one.labels)
            for launch_id, one in (await self._containers.seen()).items()
            if one.lives
        ]

    async def find(self, launch_id: str, options: Options) -> Handle | None:
        return next((one for one in await self.list() if one.launch_id == launch_id), None)

    # What people want to know

    async def memory(self, handles: Sequence[Handle]) -> Mapping[str, Memory]:
        async def of(handle: Handle) -> tuple[str, Memory | None]:
            try:
                name = self._name(handle)
                found = await self._calls.make(lambda: self._engine.stats(name), _SHORT)
            except Missing:
                return handle.launch_id, None
            return handle.launch_id, ends.memory_of(found)

        found = [await one for one in map(of, handles)]
        return {launch_id: memory for launch_id, memory in found if memory is not None}

    def workers(self, handle: Handle) -> WorkerCounts | None:
        return None

    def identity(self, handle: Handle) -> Mapping[str, str | int]:
        known = ((name, handle.ref.get(name)) for name in ("container", "image", THREADS))
        return {name: value for name, value in known if value}

    async def update_log(self, launch_id: str) -> None:
        if not self._folders.of(launch_id).is_dir():
            return
        name = of_launch.name_of(self._settings.instance, launch_id)
        await self._calls.make(lambda: self._output.fetch(launch_id, name), _SHORT)

    async def tail(self, launch_id: str, lines: int) -> str:
        try:
            await self.update_log(launch_id)
        except OSError as error:
            _log.debug("cannot fetch the log of %s now: %s", launch_id, error)
        return await asyncio.to_thread(self._logs.tail, launch_id, lines)

    async def tidy(self, keep: Iterable[str]) -> None:
        kept = {*keep}
        await asyncio.to_thread(self._logs.tidy, {*kept, *self._watched})
        if not self._settings.root.is_dir():
            return
        await self._calls.make(self._images.tidy, _LONG)
        # Of a call that the loop did not wait for, there may be a container without a folder.
        seen = await self._containers.seen()
        for launch_id in {*await asyncio.to_thread(self._folders.launches), *seen}:
            # Launches may have begun meanwhile.
            if launch_id not in kept and launch_id not in self._watched:
                await self._discard(
                    launch_id, of_launch.name_of(self._settings.instance, launch_id)
                )

    async def close(self) -> None:
        self._images.close()
        await self._containers.close()
        await self._offers.close()
        self._watched.clear()
        await asyncio.gather(*self._removals, return_exceptions=True)
        self._engine.close()
        self._images.builder.engine.close()
