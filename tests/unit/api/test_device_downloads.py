"""Files of releases over HTTP: which are found and sent, and what comes of those that are missing."""

from dataclasses import replace
from typing import Any

import pytest

from model_deployment.core.releases import ReleaseState
from tests.support.manifests import PLAIN
from tests.support.published import PROJECT, release
from tests.support.release_front import DIGEST, WEIGHTS, ReleaseFront
from tests.support.waiting import until

EMPTY_MANIFEST = replace(PLAIN, files=()).text()


@pytest.mark.parametrize(
    "path",
    [
        f"/hall/blobs/{DIGEST}", f"/projects/hall/blobs/{DIGEST}",
        "/hall/download/diabetes-1/model/weights", "/projects/hall/download/diabetes-1/model/weights",
    ],
)  # fmt: skip
async def test_a_file_is_sent_whole_with_its_digest_as_a_strong_tag(
    front: ReleaseFront, path: str
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
async def test_head_reads_no_file(front: ReleaseFront, path: str) -> None:
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


async def test_paths_may_have_any_letter(front: ReleaseFront) -> None:
    answer = await front.get("/hall/download/diabetes-1/model/%C3%A4%20b.txt")
    assert (answer.status_code, answer.text) == (200, "text")
    onnx = await front.get("/hall/download/diabetes-1/onnx/model.onnx")
    assert onnx.content == b"onnx"


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
async def test_other_files_are_not_found(front: ReleaseFront, path: str, words: str) -> None:
    answer = await front.get(path)
    assert answer.status_code == 404
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/hall/blobs/..%2f..%2fstate.db", "/hall/blobs/%2e%2e/state.db"])
async def test_no_path_leads_out(front: ReleaseFront, path: str) -> None:
    answer = await front.get(path)
    assert answer.status_code in (400, 404)
    assert "etag" not in answer.headers


async def test_the_files_of_the_newest_release_of_a_version_are_found(own: ReleaseFront) -> None:
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
    front: ReleaseFront,
) -> None:
    signed = front.releases[0]
    others = [release(number, EMPTY_MANIFEST, "x") for number in range(2, 70)][::-1]
    front.releases[:] = [*others, signed]
    assert (await front.get()).status_code == 404
    front.releases[-1] = replace(signed, state=ReleaseState.COMPLETE)
    assert (await front.get()).content == WEIGHTS


@pytest.mark.parametrize("damage", ["removed", "changed"])
async def test_a_missing_file_is_fetched_again_and_never_sent_damaged(
    own: ReleaseFront, damage: str
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
    own: ReleaseFront,
) -> None:
    own.releases[0] = replace(own.releases[0], state=ReleaseState.SUPERSEDED)
    assert (await own.get()).content == WEIGHTS  # as long as it is there
    own.published.blobs.path(DIGEST).unlink()
    for path in (f"/hall/blobs/{DIGEST}", "/hall/download/diabetes-1/model/weights"):
        answer = await own.get(path)
        assert answer.status_code == 404
        assert "release 1 is not wanted any more" in answer.json()["detail"]
    assert not own.published.blobs.path(DIGEST).exists()
