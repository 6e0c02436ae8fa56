"""All files of a release in one archive: in the order of the manifest, whole, and with a tag."""

import io
import json
import tarfile
from typing import cast

from model_deployment.devices.manifest import ReleaseManifest
from tests.support.published import WITH_EXAMPLE
from tests.support.release_front import DIGEST, WEIGHTS, ReleaseFront


async def test_an_archive_has_the_files_in_the_order_of_the_manifest(front: ReleaseFront) -> None:
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


async def test_an_archive_of_nothing_or_with_a_missing_file_is_not_begun(own: ReleaseFront) -> None:
    own.published.blobs.path(DIGEST).unlink()
    assert (await own.get("/archive")).status_code == 503
    own.releases.clear()
    answer = await own.get("/archive")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "cannot send files: no release is wanted on camera-7"
