"""An application with the files of one release, and what lies behind it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
from fastapi import FastAPI, Request, Response

from model_deployment.api import device_downloads, problems
from model_deployment.api.device_downloads import DeviceDownloadCalls
from model_deployment.api.guard import Guard
from model_deployment.api.release_archive import ReleaseArchives
from model_deployment.core.devices import DeviceProject
from model_deployment.core.releases import Release, ReleaseState
from model_deployment.devices.polling import ActiveModel
from model_deployment.devices.release_files import ReleaseFiles
from tests.support.published import PROJECT, WITH_EXAMPLE, FileRegistry, Published, release

#: A file of the model, and its SHA-256.
WEIGHTS = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()
OTHER = DeviceProject(2, "yard", (), datetime(2026, 1, 1, tzinfo=UTC))


class ReleaseFront:
    """The application, its releases and their publisher."""

    def __init__(self, published: Published, releases: list[Release]) -> None:
        self.published = published
        self.releases = releases
        app = FastAPI()
        self.files = ReleaseFiles(self._project, self, published.publisher)
        app.include_router(device_downloads.router(DeviceDownloadCalls(self.files)))
        app.get("/archive")(self._archive)
        problems.install(app)
        self.app = Guard(app, max_body_bytes=1000, authorise=lambda scope: None)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://controller"
        )

    async def _project(self, name: str) -> DeviceProject | None:
        return {"hall": PROJECT, "yard": OTHER}.get(name)

    async def offerable(self, project: DeviceProject) -> list[Release]:
        found = await self.all(project, 99)
        return [one for one in found if one.state is ReleaseState.COMPLETE]

    async def all(self, project: DeviceProject, limit: int) -> list[Release]:
        return [one for one in self.releases if project is PROJECT][:limit]

    async def _archive(self, request: Request) -> Response:
        active = ActiveModel(
            cast("Any", SimpleNamespace(name="camera-7")),
            self.releases[0] if self.releases else None,
            self.published.key.id() if self.releases else "",
            [],
        )
        return await ReleaseArchives(self.files).send(request, active)

    async def get(self, path: str = f"/hall/blobs/{DIGEST}", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(path, headers=named)


#: Of the version that is released.
FILES = {**WITH_EXAMPLE, "weights": WEIGHTS, "ä b.txt": b"text", "empty": b""}


def publish(folder: Path) -> Release:
    """Make the release, with its files in a folder."""
    published = Published(folder, FileRegistry(FILES))
    prepared = asyncio.run(published.publisher.prepare(PROJECT, release(1)))
    return release(1, prepared.manifest, prepared.signature)


@asynccontextmanager
async def release_front(folder: Path, one: Release) -> AsyncIterator[ReleaseFront]:
    """The application on files that :func:`publish` has made."""
    published = Published(folder, FileRegistry(FILES))
    front = ReleaseFront(published, [one])
    async with front.client:
        yield front
    await published.publisher.close()
