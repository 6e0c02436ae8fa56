"""Builds devices: releases and their loop, connections and what comes over them, and the use cases."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from model_deployment.alerts.webhook import Webhook
from model_deployment.app.background import in_background
from model_deployment.app.monitoring import MonitoringParts
from model_deployment.app.publishing import build_publisher
from model_deployment.app.serving import ServingParts
from model_deployment.core.device_figures import DeviceFigures
from model_deployment.core.domain import State
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.names import ModelKey
from model_deployment.credentials.device_tokens import DeviceTokens
from model_deployment.devices.collaborators import DeviceParts, ReleaseCollaborators
from model_deployment.devices.connections import DeviceConnections
from model_deployment.devices.delivery import DeviceDelivery
from model_deployment.devices.document_backlog import DocumentBacklog
from model_deployment.devices.inbox import Inbox
from model_deployment.devices.limits import DeviceLimits
from model_deployment.devices.loop import DeviceLoop
from model_deployment.devices.news import ReleaseNews
from model_deployment.devices.polling import DevicePolling
from model_deployment.devices.publish import ReleasePublisher
from model_deployment.devices.release_files import ReleaseFiles
from model_deployment.devices.rows import DeviceRows
from model_deployment.devices.service import Devices
from model_deployment.devices.signing import KeyFile
from model_deployment.devices.stats import DeviceStats
from model_deployment.devices.traffic import DeviceTraffic
from model_deployment.settings import Settings
from model_deployment.state.database import Database
from model_deployment.state.device_commands import CommandStore
from model_deployment.state.device_figures import DeviceFigureReader
from model_deployment.state.device_messages import MessageStore
from model_deployment.state.device_projects import DeviceProjectStore
from model_deployment.state.devices import DeviceStore
from model_deployment.state.endpoints import EndpointStore
from model_deployment.state.releases import ReleaseStore


@dataclass(frozen=True)
class EdgeParts:
    """What the API and the dashboard call for devices."""

    devices: Devices
    connections: DeviceConnections
    polling: DevicePolling
    files: ReleaseFiles
    traffic: DeviceTraffic
    rows: DeviceRows
    #: For metrics, and for what needs attention.
    figures: Callable[[], Awaitable[DeviceFigures]]


class _Known:
    """What the parts for devices ask the other parts."""

    def __init__(
        self, database: Database, serving: ServingParts, monitoring: MonitoringParts
    ) -> None:
        self._devices = DeviceStore(database)
        self._endpoints = EndpointStore(database)
        self._serving = serving
        self._monitoring = monitoring

    async def trusted(self) -> bool:
        """Whether a device may know the key that signs releases."""
        return bool(await self._devices.all())

    async def champions(self) -> Mapping[EndpointName, ModelKey | None]:
        return {
            one.name: None if one.champion is None else one.key(one.champion)
            for one, _ in await self._endpoints.all()
            if not one.deleting
        }

    async def deployed(self) -> Mapping[ModelKey, State]:
        return {row.key: row.state for row in await self._serving.deployments.all()}

    def verdict(self, key: ModelKey) -> str | None:
        last = self._monitoring.last_reports.of(key)
        return last.verdict if last else None


def build_devices(
    settings: Settings,
    database: Database,
    serving: ServingParts,
    monitoring: MonitoringParts,
    tokens: DeviceTokens,
    webhook: Webhook,
    stack: contextlib.AsyncExitStack,
) -> EdgeParts:
    """Build the parts and start their work, which the stack ends.

    Args:
        tokens: is told when one is no longer good.
    """
    known = _Known(database, serving, monitoring)
    key = KeyFile(settings.data_dir, known.trusted)
    rows = DeviceRows(
        projects=DeviceProjectStore(database),
        devices=DeviceStore(database),
        releases=ReleaseStore(database),
        commands=CommandStore(database),
        key_id=key.id,
    )
    messages = MessageStore(database)
    inbox = _build_inbox(rows, messages, serving, monitoring, stack)
    limits = DeviceLimits(devices=settings.devices)
    connections = DeviceConnections(rows, inbox, limits)
    in_background(stack, connections.run(), "connections of devices")
    stack.push_async_callback(connections.close)
    publisher = build_publisher(settings, serving, key, stack)
    loop = _build_loop(rows, publisher, connections, known, webhook, stack)
    monitored = monitoring.monitoring
    stats = DeviceStats(monitoring.documents.opened, monitored.serving, known.verdict)
    devices = Devices(
        DeviceParts(
            projects=rows.projects,
            devices=rows.devices,
            releases=rows.releases,
            commands=rows.commands,
            logs=messages,
            connections=connections,
            key=key.get,
            forget_tokens=tokens.forget,
            wake=loop.wake,
            champions=known.champions,
            registry=serving.registry,
            deployed=known.deployed,
            measure=stats.measure,
            now=_now,
        )
    )
    return EdgeParts(
        devices,
        connections,
        DevicePolling(rows, inbox, limits),
        ReleaseFiles(rows.projects.find, rows.releases, publisher),
        DeviceTraffic(monitoring.store, instance=serving.instance),
        rows,
        _figures(DeviceFigureReader(database), inbox, connections),
    )


def _figures(
    reader: DeviceFigureReader, inbox: Inbox, connections: DeviceConnections
) -> Callable[[], Awaitable[DeviceFigures]]:
    async def figures() -> DeviceFigures:
        stored = await reader.read(_now())
        sockets = len(connections.online())
        return DeviceFigures(stored.projects, inbox.messages, stored.waiting, sockets)

    return figures


def _build_inbox(
    rows: DeviceRows,
    messages: MessageStore,
    serving: ServingParts,
    monitoring: MonitoringParts,
    stack: contextlib.AsyncExitStack,
) -> Inbox:
    """What stores messages of devices, and carries them on; the stack ends it when all is stored."""
    backlog = DocumentBacklog()
    inbox = Inbox(rows.devices, backlog)
    delivery = DeviceDelivery(
        messages, monitoring.store, backlog, inbox.carried, instance=serving.instance
    )
    in_background(stack, delivery.run(), "delivery of devices' messages")
    storing = asyncio.create_task(inbox.run(), name="inbox of devices")

    async def end() -> None:
        inbox.close()
        await asyncio.gather(storing, return_exceptions=True)

    stack.push_async_callback(end)
    return inbox


def _build_loop(
    rows: DeviceRows,
    publisher: ReleasePublisher,
    connections: DeviceConnections,
    known: _Known,
    webhook: Webhook,
    stack: contextlib.AsyncExitStack,
) -> DeviceLoop:
    news = ReleaseNews(webhook.call, rows.releases.note_told)
    stack.push_async_callback(news.close)
    loop = DeviceLoop(
        ReleaseCollaborators(
            projects=rows.projects,
            devices=rows.devices,
            releases=rows.releases,
            publisher=publisher,
            tell=connections.tell,
            champions=known.champions,
            ended=news.tell,
            now=_now,
        )
    )
    stack.push_async_callback(loop.close)
    in_background(stack, loop.run(), "releases of devices")
    return loop


def _now() -> datetime:
    return datetime.now(UTC)
