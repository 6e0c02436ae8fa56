"""The calls with which a device becomes one: an operator makes a code, the device registers with it."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request

from model_deployment.api.attempts import Attempts
from model_deployment.api.device_projects import NO_PROJECT
from model_deployment.api.device_registration_schemas import (
    EnrolmentIn,
    EnrolmentOut,
    RegisteredDeviceOut,
    RegisterIn,
)
from model_deployment.api.parameters import ProjectName
from model_deployment.api.problems import problem
from model_deployment.api.project_paths import add_at_both
from model_deployment.api.request_scope import DEVICE, user_name
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.core.errors import Forbidden, NotFound
from model_deployment.devices.service import Devices


@dataclass(frozen=True)
class DeviceRegistrationCalls:
    """The handlers, and what they use."""

    devices: Devices
    attempts: Attempts

    async def create_enrolment(
        self, request: Request, project: ProjectName, body: EnrolmentIn | None = None
    ) -> Any:
        """The code is good once, for 15 minutes. It is shown in this answer only."""
        given = body or EnrolmentIn()
        by = user_name(request.scope)
        made = await self.devices.enrol(project, given.groups, given.device, by)
        name = (await self.devices.project(project)).project.name
        return EnrolmentOut.of(made, name, str(request.base_url))

    async def register_device(
        self, request: Request, project: ProjectName, body: RegisterIn
    ) -> Any:
        """No password is needed: the code says that the device may. Ten codes that are not good within a
        minute, and the address has to wait.
        """
        request.scope[DEVICE] = body.device[:260]
        address = (request.scope.get("client") or ("",))[0]
        self.attempts.check(address)
        try:
            found = await self.devices.register(project, body.code, body.device, body.attributes)
        except (Forbidden, NotFound):  # who guesses names of projects has to wait, too
            self.attempts.failed(address)
            raise
        return RegisteredDeviceOut.of(found)


_NO_KEY = problem("The key that signs releases cannot be used")


def router(calls: DeviceRegistrationCalls) -> APIRouter:
    routes = APIRouter(tags=["devices"], route_class=StrictRoute)
    add_at_both(
        routes, "POST", "/enrolments", calls.create_enrolment,
        status_code=201,
        summary="Make a code with which one device registers",
        response_model=EnrolmentOut,
        responses={**NO_PROJECT, 503: _NO_KEY},
    )  # fmt: skip
    add_at_both(
        routes, "POST", "/registerDevice", calls.register_device,
        status_code=201,
        summary="Register a device",
        response_model=RegisteredDeviceOut,
        responses={
            403: problem("The code is not good"),
            404: problem("There is no such project"),
            409: problem("A device of this name is registered"),
            429: problem("Too many codes from this address were not good"),
            503: _NO_KEY,
        },
    )  # fmt: skip
    return routes
