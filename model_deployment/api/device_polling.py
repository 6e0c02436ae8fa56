"""The calls of devices without a socket: what one should run, and what it has to say."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from model_deployment.api.device_polling_schemas import (
    ActiveModelOut,
    MessagesIn,
    OpenCommandOut,
    ReceivedOut,
    SignedReleaseOut,
)
from model_deployment.api.device_projects import NO_PROJECT
from model_deployment.api.entity_tags import is_known
from model_deployment.api.parameters import ProjectName
from model_deployment.api.problems import problem
from model_deployment.api.project_paths import add_at_both
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.core.devices import Device
from model_deployment.core.errors import Forbidden, InvalidRequest, NotFound
from model_deployment.core.users import Role, User
from model_deployment.credentials.access import USER
from model_deployment.devices.outbox import signed_release
from model_deployment.devices.polling import ActiveModel, DevicePolling

#: Answers with the files of what a device should run, as one archive.
SendArchive = Callable[[Request, ActiveModel], Awaitable[Response]]

_ACTIVE: dict[int | str, dict[str, Any]] = {
    **NO_PROJECT,
    200: {
        "model": ActiveModelOut,
        "description": "What it should run; with `format=tar` the files of the release",
        "headers": {"ETag": {"schema": {"type": "string"}, "description": "Strong."}},
    },
    304: {"description": "Nothing has changed since the answer with the `ETag` of `If-None-Match`"},
    404: problem("There is no such project or device; with `format=tar`: no release is wanted"),
}


@dataclass(frozen=True)
class DevicePollingCalls:
    """The handlers, and what they use."""

    polling: DevicePolling
    send_archive: SendArchive | None = None

    async def get_active_model(
        self,
        request: Request,
        project: ProjectName,
        format: Annotated[
            Literal["json", "tar"],
            Query(description="`tar`: the files of the release as one archive."),
        ] = "json",
        device: Annotated[
            str | None,
            Query(
                max_length=64,
                description="Name of the device; for operators. A device asks for itself.",
            ),
        ] = None,
    ) -> Response:
        """The release that a device should run, and the commands that it has not answered. A device that
        asks is there, and has been told.
        """
        asking = await self._asking(request)
        if asking is not None and device is not None and device.lower() != asking.name.lower():
            raise Forbidden("cannot tell what another device should run")
        if asking is None and device is None:
            raise InvalidRequest(
                "cannot tell what to run: name a device (?device=), or send the token of one"
            )
        about = asking or await self.polling.named(project, device or "")
        active = await self.polling.active(about, told=asking is not None)
        if format == "tar":
            if active.release is None or self.send_archive is None:
                raise NotFound(f"cannot send files: no release is wanted on {about.name}")
            return await self.send_archive(request, active)
        headers = {"ETag": active.etag, "Cache-Control": "no-cache"}
        if is_known(active.etag, request.headers.get("if-none-match")):
            return Response(status_code=304, headers=headers)
        return JSONResponse(_active(active), headers=headers)

    async def post_messages(
        self, request: Request, project: ProjectName, body: MessagesIn
    ) -> ReceivedOut:
        """Messages of the device whose token the request carries. Each is stored once: those up to
        `received` need not be sent again.
        """
        device = await self._asking(request)
        if device is None:
            raise Forbidden("cannot take messages: they come with the token of a device")
        # As they came: the parser of bodies lets pass what is no JSON.
        received = await self.polling.receive(device, await request.body())
        return ReceivedOut(received=received)

    async def _asking(self, request: Request) -> Device | None:
        """The device whose token the request carries; None: somebody else asks."""
        user: User | None = request.scope.get(USER)
        if user is None or user.role is not Role.DEVICE or user.device_id is None:
            return None
        return await self.polling.device(user.device_id)


class _MessagesRoute(StrictRoute):
    """``devices/frames.py`` reads the body: what is wrong with one message holds up no other."""

    unique_keys = False


def router(calls: DevicePollingCalls) -> APIRouter:
    routes = APIRouter(tags=["devices"], route_class=StrictRoute)
    messages = APIRouter(tags=["devices"], route_class=_MessagesRoute)
    add_at_both(
        routes, "GET", "/activeModel", calls.get_active_model,
        summary="What a device should run",
        response_model=ActiveModelOut,
        responses=_ACTIVE,
    )  # fmt: skip
    add_at_both(
        messages, "POST", "/messages", calls.post_messages,
        summary="Store messages of a device",
        response_model=ReceivedOut,
        responses={
            **NO_PROJECT,
            413: problem("The body is larger than 1 MiB"),
            422: problem("The body is not that of messages; nothing is stored"),
            503: problem("Nothing can be stored now; send the messages again later"),
        },
    )  # fmt: skip
    routes.include_router(messages)
    return routes


def _active(active: ActiveModel) -> dict[str, Any]:
    signed = signed_release(active.release, active.key)
    out = ActiveModelOut(
        release=SignedReleaseOut(**signed) if signed else None,
        commands=[OpenCommandOut.of(one) for one in active.commands],
        time=time.time_ns() // 1_000_000,
    )
    return out.model_dump(mode="json")
