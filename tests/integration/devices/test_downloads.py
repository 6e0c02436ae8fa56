"""A device loads a release from a real controller behind a proxy, over lines that are cut."""

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.harness import CALLER
from tests.support.release_bench import SIZE, ReleaseBench, weights
from tests.support.tools import check_problem
from tests.support.waiting import until_sync


@pytest.fixture(scope="module")
def first(bench: ReleaseBench) -> dict[str, Any]:
    """The manifest of version 1."""
    return bench.release(1)


def digest(manifest: dict[str, Any], path: str) -> str:
    return str(next(one["sha256"] for one in manifest["files"] if one["path"] == path))


def test_a_manifest_lists_what_can_be_loaded(bench: ReleaseBench, first: dict[str, Any]) -> None:
    assert "environment of its own (env_manager uv)" in first["onnx"]["why_not"]
    assert first["example"] == "model/serving_input_example.json"
    for file in first["files"]:
        for path in (f"blobs/{file['sha256']}", f"download/weights-1/{file['path']}"):
            answer = bench.get(f"/hall/{path}")
            assert answer.status_code == 200
            assert len(answer.content) == file["size"]
            assert hashlib.sha256(answer.content).hexdigest() == file["sha256"]
            assert answer.headers["etag"] == f'"{file["sha256"]}"'
            assert (
                bench.get(f"/projects/hall/{path}", "HEAD").headers["etag"]
                == answer.headers["etag"]
            )


@pytest.mark.parametrize("cut", ["controller", "line"])
def test_a_download_goes_on_where_it_was_cut(
    bench: ReleaseBench, first: dict[str, Any], cut: str
) -> None:
    path = f"/hall/blobs/{digest(first, 'model/weights.bin')}"
    if cut == "controller":
        begun = bench.cut_off(path, SIZE // 3, bench.controller.kill)
        bench.controller.up()
    else:
        # The device goes away; what the proxy has of the answer is given up.
        with httpx.Client(base_url=bench.controller.url) as client:
            headers = {"Authorization": f"Bearer {bench.token}"}
            with client.stream("GET", path, headers=headers) as answer:
                begun = next(answer.iter_raw(SIZE // 3))
    assert SIZE // 4 < len(begun) < SIZE
    tag = f'"{digest(first, "model/weights.bin")}"'
    rest = bench.get(path, Range=f"bytes={len(begun)}-", If_Range=tag)
    assert rest.status_code == 206
    assert rest.headers["content-range"] == f"bytes {len(begun)}-{SIZE - 1}/{SIZE}"
    assert begun + rest.content == weights(1)
    beyond = bench.get(path, Range=f"bytes={SIZE}-", If_Range=tag)
    assert check_problem(beyond)["status"] == 416
    assert beyond.headers["content-range"] == f"bytes */{SIZE}"
    assert bench.get(path, If_None_Match=tag).status_code == 304


def test_who_may_load(bench: ReleaseBench, first: dict[str, Any]) -> None:
    path = f"/blobs/{digest(first, 'model/MLmodel')}"
    assert bench.get(f"/hall{path}").text == "flavors: {}"
    assert bench.controller.call("GET", f"/hall{path}").status_code == 200  # the operator
    assert bench.controller.call("GET", f"/hall{path}", auth=CALLER).status_code == 403
    assert bench.controller.call("GET", f"/hall{path}", auth=None).status_code == 401
    assert bench.get(f"/hall{path}", Authorization="Bearer mdd_wrong").status_code == 401
    # Another project: not for the device, and not there for the operator.
    assert bench.get(f"/yard{path}").status_code == 403
    assert bench.controller.call("GET", f"/yard{path}").status_code == 404


def test_files_that_were_lost_come_back_from_the_registry(
    bench: ReleaseBench, first: dict[str, Any]
) -> None:
    """As after a restore: a backup has no files that the registry has."""
    data = bench.controller.data
    for folder in (data / "releases" / "blobs", data / "models"):
        for lost in folder.iterdir():
            shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    path = f"/hall/blobs/{digest(first, 'model/weights.bin')}"
    answer = bench.get(path)
    assert check_problem(answer)["status"] == 503
    assert answer.headers["retry-after"] == "10"

    def there() -> bool:
        answer = bench.get(path)
        assert answer.status_code == 200
        return answer.content == weights(1)

    until_sync(there, timeout=30, what="the file to be there again")


def test_another_version_is_not_appended_to_what_was_begun(
    bench: ReleaseBench, first: dict[str, Any]
) -> None:
    second = bench.release(2)
    kept = {one["sha256"] for one in first["files"]} & {one["sha256"] for one in second["files"]}
    assert len(kept) == 2  # need not be loaded again
    path = "/hall/download/weights-2/model/weights.bin"
    tag = f'"{digest(first, "model/weights.bin")}"'
    answer = bench.get(path, Range="bytes=1000-", If_Range=tag)
    assert (answer.status_code, answer.content) == (200, weights(2))
    old = bench.get("/hall/download/weights-1/model/weights.bin", Range="bytes=-1", If_Range=tag)
    assert (old.status_code, old.content) == (206, b"1")


def test_an_archive_has_the_whole_release(bench: ReleaseBench, first: dict[str, Any]) -> None:
    answer = bench.get("/hall/activeModel?format=tar")
    assert answer.status_code == 200, answer.text
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        signed = json.load(archive.extractfile("release.json") or io.BytesIO())
        manifest = json.loads(signed["manifest"])
        assert archive.getnames()[1:] == [one["path"] for one in manifest["files"]]
        for one in manifest["files"]:
            content = archive.extractfile(one["path"])
            assert content is not None
            assert hashlib.sha256(content.read()).hexdigest() == one["sha256"]
    answer = bench.get("/hall/activeModel?format=tar", If_None_Match=answer.headers["etag"])
    assert answer.status_code == 304
    assert Path(bench.controller.data / "release.key").stat().st_mode & 0o777 == 0o600
