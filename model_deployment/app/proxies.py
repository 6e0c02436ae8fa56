"""Builds the data plane: takes over or opens the address, adopts living proxies, starts the others."""

import asyncio
import contextlib
import logging
import socket
from dataclasses import asdict
from pathlib import Path

from model_deployment.api.access import OPEN_CALLS, STREAMED_CALLS
from model_deployment.core.options import EnvManager
from model_deployment.credentials.verify import Credentials
from model_deployment.data_plane.address import drop_stale_sockets, take_over_or_listen
from model_deployment.data_plane.counts import PlaneCounts
from model_deployment.data_plane.data_plane import DataPlane, PlaneEvents
from model_deployment.data_plane.starter import ProxyStarter
from model_deployment.proxy import protocol
from model_deployment.proxy.limits_file import columns_for, create_limits_file
from model_deployment.proxy.protocol import ProxyConfig
from model_deployment.proxy.upstream import UpstreamLimits
from model_deployment.recording.reported_counts import ReportedCounts
from model_deployment.runtime.logs import PROXY
from model_deployment.settings import Settings
from model_deployment.state.instance import FILE as INSTANCE_FILE
from model_deployment.state.instance import read as read_instance

_log = logging.getLogger(__name__)


async def take_address(settings: Settings, stack: contextlib.AsyncExitStack) -> socket.socket:
    """The socket that callers connect to. Taken before the state is opened, which may change it.

    Raises:
        StateError: another program uses the address.
    """
    folder = settings.data_dir / protocol.FOLDER
    name = await asyncio.to_thread(read_instance, settings.data_dir / INSTANCE_FILE)
    taken = await asyncio.to_thread(
        take_over_or_listen, folder, name or "", settings.host, settings.port
    )
    stack.callback(taken.close)
    await asyncio.to_thread(drop_stale_sockets, folder)
    return taken


async def build_data_plane(
    settings: Settings,
    instance: str,
    listener: socket.socket,
    credentials: Credentials,
    events: PlaneEvents,
) -> DataPlane:
    """With the proxies that live; :meth:`DataPlane.run` starts those that are missing."""
    folder = settings.data_dir / protocol.FOLDER
    template = _template(settings, instance, listener, credentials)
    log = settings.data_dir / "logs" / f"{PROXY}.log"
    environment = settings.model_environment(EnvManager.LOCAL)
    starter = ProxyStarter(template, listener, log, environment)
    here = settings.proxies == 0
    _create_limits_file(folder / protocol.LIMITS_FILE, settings.proxies)
    plane = DataPlane(
        listener,
        folder,
        PlaneCounts(ReportedCounts()),
        events,
        wanted=settings.proxies or 1,
        start=starter.start_here if here else starter.start,
        patience=settings.drain_timeout,
    )
    for process in await asyncio.to_thread(starter.living):
        plane.adopt(process, current=not here and process.build == starter.build)
    return plane


def _create_limits_file(path: Path, proxies: int) -> None:
    try:
        create_limits_file(path, columns=columns_for(proxies))
    except OSError as error:  # a full disk: predictions go on
        _log.error("cannot write %s, so each proxy has limits of its own: %s", path, error.strerror)


def _template(
    settings: Settings, instance: str, listener: socket.socket, credentials: Credentials
) -> ProxyConfig:
    host, port = listener.getsockname()[:2]
    return ProxyConfig(
        id="",
        instance=instance,
        data_dir=str(settings.data_dir),
        host=host,
        port=port,
        descriptor=-1,
        credentials_dir=str(settings.credentials),
        credentials_required=credentials.required,
        hosts=settings.hosts,
        open_calls=tuple(sorted(OPEN_CALLS)),
        streamed_calls=tuple(sorted(STREAMED_CALLS)),
        trusted_proxies=settings.trusted_proxies,
        limits=asdict(_limits(settings)),
        max_body_bytes=settings.max_body_bytes,
        held_bytes=settings.max_held_bytes,
        body_timeout=settings.body_timeout,
        spool_bytes=settings.spool_bytes,
        drain_timeout=settings.drain_timeout,
        log_level=settings.log_level,
        log_format=settings.log_format,
        log_max_bytes=settings.log_max_bytes,
        shared=settings.proxies > 1,
        column=0,
        sockets=settings.devices,
    )


def _limits(settings: Settings) -> UpstreamLimits:
    return UpstreamLimits(
        connections=settings.max_connections,
        queue=settings.max_queue,
        # A model that many wait for leaves room for the large bodies of others.
        queue_bytes=min(settings.max_queue_bytes, settings.max_held_bytes // 2),
        # Longer than the model server's own limit, so that its own 504 comes first, and longer than
        # the age of a request that gives a hanging server away: one cut off before has no age.
        read_timeout=settings.request_timeout + settings.policy.request_grace + 5,
        answer_bytes=settings.max_answer_bytes,
        wake_timeout=settings.start_timeout,
        recovery_timeout=settings.recovery_timeout,
    )
