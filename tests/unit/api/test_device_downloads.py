"""Files of releases over HTTP: tags, conditions and ranges as RFC 9110 has them."""

import asyncio
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from model_deployment.api import device_downloads, problems
from model_deployment.api.device_downloads import (
    DeviceDownloadCalls,
    RangeNotSatisfiable,
    usable_ranges,
)
from model_deployment.api.guard import Guard
from model_deployment.api.release_archive import ReleaseArchives
from model_deployment.core.devices import DeviceProject
from model_deployment.core.releases import Release, ReleaseState
from model_deployment.devices.manifest import ReleaseManifest
from model_deployment.devices.polling import ActiveModel
from model_deployment.devices.release_files import ReleaseFiles
from tests.support.manifests import PLAIN
from tests.support.published import PROJECT, WITH_EXAMPLE, FileRegistry, Published, release
from tests.support.waiting import until

WEIGHTS = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()
EMPTY = hashlib.sha256(b"").hexdigest()
EMPTY_MANIFEST = replace(PLAIN, files=()).text()
OTHER = DeviceProject(2, "yard", (), datetime(2026, 1, 1, tzinfo=UTC))


class Front:
    """The application with one release, and what lies behind it."""

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


FILES = {**WITH_EXAMPLE, "weights": WEIGHTS, "ä b.txt": b"text", "empty": b""}


def publish(folder: Path) -> Release:
    """Make the release."""
    published = Published(folder, FileRegistry(FILES))
    prepared = asyncio.run(published.publisher.prepare(PROJECT, release(1)))
    return release(1, prepared.manifest, prepared.signature)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Release]:
    folder = tmp_path_factory.mktemp("published")
    return folder, publish(folder)


async def _front(folder: Path, one: Release) -> AsyncIterator[Front]:
    published = Published(folder, FileRegistry(FILES))
    front = Front(published, [one])
    async with front.client:
        yield front
    await published.publisher.close()


@pytest.fixture
async def front(shared: tuple[Path, Release]) -> AsyncIterator[Front]:
    """Of files that all tests share, and none changes."""
    async for front in _front(*shared):
        yield front


@pytest.fixture
def made(tmp_path: Path) -> Release:
    return publish(tmp_path)


@pytest.fixture
async def own(tmp_path: Path, made: Release) -> AsyncIterator[Front]:
    """Of files of this test alone."""
    async for front in _front(tmp_path, made):
        yield front


@pytest.mark.parametrize(
    "path",
    [
        f"/hall/blobs/{DIGEST}", f"/projects/hall/blobs/{DIGEST}",
        "/hall/download/diabetes-1/model/weights", "/projects/hall/download/diabetes-1/model/weights",
    ],
)  # fmt: skip
async def test_a_file_is_sent_whole_with_its_digest_as_a_strong_tag(
    front: Front, path: str
) -> None:
    answer = await front.get(path)
    assert (answer.status_code, answer.content) == (200, WEIGHTS)
    assert answer.headers["etag"] == f'"{DIGEST}"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-length"] == str(len(WEIGHTS))
    assert "last-modified" not in answer.headers
    assert "content-disposition" not in answer.headers
    head = await front.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-length", "content-type", "accept-ranges"):
        assert head.headers[name] == answer.headers[name]


@pytest.mark.parametrize("path", [f"/hall/blobs/{DIGEST}", "/archive"])
async def test_head_reads_no_file(front: Front, path: str) -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope: dict[str, Any] = {
        "type": "http", "method": "HEAD", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [], "http_version": "1.1", "scheme": "http", "server": None, "client": None,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
    }  # fmt: skip
    await front.app(scope, receive, send)
    assert (sent[0]["status"], dict(sent[0]["headers"]).keys() >= {b"etag", b"content-length"}) == (
        200, True,
    )  # fmt: skip
    assert [message.get("body", b"") for message in sent[1:]] == [b""]


async def test_paths_may_have_any_letter(front: Front) -> None:
    answer = await front.get("/hall/download/diabetes-1/model/%C3%A4%20b.txt")
    assert (answer.status_code, answer.text) == (200, "text")
    onnx = await front.get("/hall/download/diabetes-1/onnx/model.onnx")
    assert onnx.content == b"onnx"


SIZE = len(WEIGHTS)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-", 100, SIZE - 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        (f"bytes=5-{10**15}", 5, SIZE - 1),
        ("bytes=-7", SIZE - 7, SIZE - 1),
        (f"bytes=-{SIZE * 2}", 0, SIZE - 1),
        (f"bytes=10-19, {SIZE}-", 10, 19),
    ],
)
async def test_one_range_is_sent(front: Front, asked: str, first: int, last: int) -> None:
    answer = await front.get(range=asked)
    assert (answer.status_code, answer.content) == (206, WEIGHTS[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["content-length"] == str(last - first + 1)
    assert answer.headers["etag"] == f'"{DIGEST}"'


async def test_several_ranges_are_sent_in_parts(front: Front) -> None:
    answer = await front.get(range="bytes=0-3,100-103")
    assert answer.status_code == 206
    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    parts = answer.content.split(f"--{boundary}".encode())
    assert [part.partition(b"\r\n\r\n")[2].strip(b"\r\n") for part in parts[1:3]] == [
        WEIGHTS[0:4].strip(b"\r\n"), WEIGHTS[100:104],
    ]  # fmt: skip
    assert b"Content-Range: bytes 100-103/512000" in parts[2]


@pytest.mark.parametrize(
    "asked",
    [
        "items=0-1", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-2-3", "bytes=5-3", "bytes=0-1,5-3",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 300, 2)), "BYTES 0-1", "bytes=²-³",
    ],
)  # fmt: skip
async def test_what_is_no_range_is_ignored(front: Front, asked: str) -> None:
    answer = await front.client.get(
        f"/hall/blobs/{DIGEST}", headers={b"Range": asked.encode("latin-1")}
    )
    assert (answer.status_code, answer.content) == (200, WEIGHTS)


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE}", "bytes=-0"])
async def test_a_range_behind_the_end_is_not_satisfiable(front: Front, asked: str) -> None:
    answer = await front.get(range=asked)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"
    assert answer.json()["detail"] == f"cannot send this range: the file has {SIZE} bytes"


def test_ranges_of_a_file_without_bytes() -> None:
    assert usable_ranges("bytes=0-", 0) == usable_ranges("bytes=-5", 0) == ""
    with pytest.raises(RangeNotSatisfiable):
        usable_ranges("bytes=1-", 1)
    assert usable_ranges("bytes= 0-0 , 9-", 1) == "bytes=0-0"


async def test_a_file_without_bytes_is_sent(front: Front) -> None:
    answer = await front.get(f"/hall/blobs/{EMPTY}", range="bytes=0-")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (f'"{DIGEST}"', 206),
        (f'W/"{DIGEST}"', 200),
        ('"other"', 200),
        (DIGEST, 200),
        ("Sat, 31 Jan 2026 12:00:00 GMT", 200),
        ("", 200),
    ],
)
async def test_a_part_is_sent_only_of_the_file_that_the_caller_has(
    front: Front, condition: str, status: int
) -> None:
    answer = await front.get(range="bytes=9-", if_range=condition)
    assert answer.status_code == status
    assert answer.content == (WEIGHTS[9:] if status == 206 else WEIGHTS)
    beyond = await front.get(range=f"bytes={SIZE}-", if_range='"other"')
    assert beyond.status_code == 200


@pytest.mark.parametrize(
    ("known", "status"),
    [
        (f'"{DIGEST}"', 304),
        (f'W/"{DIGEST}"', 304),
        (f'"a", "{DIGEST}"', 304),
        ("*", 304),
        ('"a"', 200),
        (DIGEST, 200),
    ],
)
async def test_a_file_that_the_caller_has_is_not_sent(
    front: Front, known: str, status: int
) -> None:
    answer = await front.get(if_none_match=known, range="bytes=0-1" if status == 304 else "")
    assert answer.status_code == status
    assert answer.headers["etag"] == f'"{DIGEST}"'
    assert answer.content == (b"" if status == 304 else WEIGHTS)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"/nowhere/blobs/{DIGEST}", "cannot find the project"),
        (f"/yard/blobs/{DIGEST}", "no release of this project has it"),
        ("/hall/blobs/state.db", "no release of this project has it"),
        (f"/hall/blobs/{DIGEST.upper()}", "no release of this project has it"),
        ("/hall/download/diabetes-2/model/weights", "has no release of it"),
        ("/yard/download/diabetes-1/model/weights", "has no release of it"),
        ("/hall/download/diabetes-1/weights", "release 1 has not it"),
        ("/hall/download/diabetes-1/model", "release 1 has not it"),
        ("/hall/download/diabetes/model/weights", "cannot find 'diabetes'"),
    ],
)
async def test_other_files_are_not_found(front: Front, path: str, words: str) -> None:
    answer = await front.get(path)
    assert answer.status_code == 404
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/hall/blobs/..%2f..%2fstate.db", "/hall/blobs/%2e%2e/state.db"])
async def test_no_path_leads_out(front: Front, path: str) -> None:
    answer = await front.get(path)
    assert answer.status_code in (400, 404)
    assert "etag" not in answer.headers


async def test_the_files_of_the_newest_release_of_a_version_are_found(own: Front) -> None:
    made, front = own.published, own
    made.registry.created_at = made.now.replace(year=2027)  # registered anew
    made.registry.files["weights"] = b"newer"
    prepared = await made.publisher.prepare(PROJECT, release(2))
    front.releases.insert(0, release(2, prepared.manifest, prepared.signature))
    front.releases.insert(0, release(3))  # which is being prepared
    path = "/hall/download/diabetes-1/model/weights"
    assert (await front.get(path)).content == b"newer"
    # Who has half of the file before does not get half of this one.
    half = await front.get(path, range="bytes=3-", if_range=f'"{DIGEST}"')
    assert (half.status_code, half.content) == (200, b"newer")
    rest = await front.get(range="bytes=3-", if_range=f'"{DIGEST}"')
    assert (rest.status_code, rest.content) == (206, WEIGHTS[3:])


async def test_the_release_that_devices_run_is_found_behind_any_number_of_others(
    front: Front,
) -> None:
    signed = front.releases[0]
    others = [release(number, EMPTY_MANIFEST, "x") for number in range(2, 70)][::-1]
    front.releases[:] = [*others, signed]
    assert (await front.get()).status_code == 404
    front.releases[-1] = replace(signed, state=ReleaseState.COMPLETE)
    assert (await front.get()).content == WEIGHTS


@pytest.mark.parametrize("damage", ["removed", "changed"])
async def test_a_missing_file_is_fetched_again_and_never_sent_damaged(
    own: Front, damage: str
) -> None:
    own.releases[0] = replace(own.releases[0], state=ReleaseState.COMPLETE)
    path = own.published.blobs.path(DIGEST)
    if damage == "removed":
        path.unlink()
    else:
        path.chmod(0o600)
        path.write_bytes(WEIGHTS[:-1] + b"x")
    answer = await own.get()
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"
    assert "fetched again from the registry" in answer.json()["detail"]

    async def there() -> bool:
        return (await own.get()).content == WEIGHTS

    await until(there)


async def test_no_device_has_files_fetched_of_a_release_that_is_not_wanted_any_more(
    own: Front,
) -> None:
    own.releases[0] = replace(own.releases[0], state=ReleaseState.SUPERSEDED)
    assert (await own.get()).content == WEIGHTS  # as long as it is there
    own.published.blobs.path(DIGEST).unlink()
    for path in (f"/hall/blobs/{DIGEST}", "/hall/download/diabetes-1/model/weights"):
        answer = await own.get(path)
        assert answer.status_code == 404
        assert "release 1 is not wanted any more" in answer.json()["detail"]
    assert not own.published.blobs.path(DIGEST).exists()


async def test_an_archive_has_the_files_in_the_order_of_the_manifest(front: Front) -> None:
    answer = await front.get("/archive")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-tar"
    assert answer.headers["content-length"] == str(len(answer.content))
    manifest = ReleaseManifest.parse(front.releases[0].manifest)
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        assert archive.getnames() == ["release.json", *(file.path for file in manifest.files)]
        assert all(member.isfile() and member.mode == 0o644 for member in archive)
        signed = json.load(cast("io.BytesIO", archive.extractfile("release.json")))
        assert signed == {
            "manifest": front.releases[0].manifest,
            "signature": front.releases[0].signature,
            "key": front.published.key.id(),
        }
        for name, content in {**WITH_EXAMPLE, "weights": WEIGHTS, "empty": b""}.items():
            assert cast("io.BytesIO", archive.extractfile(f"model/{name}")).read() == content
    again = await front.get("/archive", if_none_match=answer.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    head = await front.client.head("/archive")
    assert head.headers["content-length"] == answer.headers["content-length"]
    assert head.content == b""


async def test_an_archive_of_nothing_or_with_a_missing_file_is_not_begun(own: Front) -> None:
    own.published.blobs.path(DIGEST).unlink()
    assert (await own.get("/archive")).status_code == 503
    own.releases.clear()
    answer = await own.get("/archive")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "cannot send files: no release is wanted on camera-7"
