"""The routes of devices: what people and programs do with them, and what devices ask."""

import time

from fastapi import APIRouter

from model_deployment.api import (
    device_downloads,
    device_polling,
    device_projects,
    device_registration,
    device_socket,
    devices,
    releases,
)
from model_deployment.api.attempts import Attempts
from model_deployment.api.device_downloads import DeviceDownloadCalls
from model_deployment.api.device_polling import DevicePollingCalls
from model_deployment.api.device_projects import DeviceProjectCalls
from model_deployment.api.device_registration import DeviceRegistrationCalls
from model_deployment.api.devices import DeviceCalls
from model_deployment.api.release_archive import ReleaseArchives
from model_deployment.api.releases import ReleaseCalls
from model_deployment.app.devices import EdgeParts


def device_routers(edge: EdgeParts) -> tuple[APIRouter, ...]:
    """One router for each area."""
    cases = edge.devices
    return (
        device_projects.router(DeviceProjectCalls(cases)),
        releases.router(ReleaseCalls(cases)),
        devices.router(DeviceCalls(cases)),
        device_registration.router(DeviceRegistrationCalls(cases, Attempts(time.monotonic))),
        device_polling.router(DevicePollingCalls(edge.polling, ReleaseArchives(edge.files).send)),
        device_downloads.router(DeviceDownloadCalls(edge.files)),
        device_socket.router(edge.connections, edge.rows.devices.get),
    )
