"""Signed releases stay whole: manifests that are renewed, and files that are put back or dropped."""

import asyncio
import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from model_deployment.core.errors import RegistryUnavailable, Unavailable
from model_deployment.devices.manifest import ReleaseManifest
from model_deployment.devices.publish import LIFETIME, Prepared, due
from tests.support.downloads import FILES
from tests.support.published import PROJECT, WHEN, WITH_EXAMPLE, Published, prepare, release, sha256
from tests.support.waiting import until


async def test_renewing_changes_the_times_only(made: Published) -> None:
    prepared, before = await prepare(made, 3)
    made.now = WHEN + timedelta(days=25)
    made.registry.away = RegistryUnavailable("not needed")
    renewed = await made.publisher.renew(PROJECT, release(3, **vars_of(prepared)))
    found = json.loads(renewed.manifest)
    assert ReleaseManifest.parse(renewed.manifest).expires == WHEN + timedelta(days=25) + LIFETIME
    times = ("created", "expires")
    assert {name: value for name, value in found.items() if name not in times} == {
        name: value for name, value in json.loads(prepared.manifest).items() if name not in times
    }
    assert before.number == found["number"] == 3
    assert (await made.key.get()).verifies(renewed.manifest, renewed.signature)


def vars_of(prepared: Prepared) -> dict[str, str]:
    return {"manifest": prepared.manifest, "signature": prepared.signature}


async def test_a_manifest_is_due_before_it_expires(made: Published) -> None:
    prepared, _ = await prepare(made)
    assert not due(prepared.manifest, WHEN + timedelta(days=44))
    assert due(prepared.manifest, WHEN + timedelta(days=46))
    assert due(prepared.manifest, WHEN + timedelta(days=99))


@pytest.mark.parametrize("cached", [True, False])
async def test_files_that_a_restore_has_not_are_put_back(made: Published, cached: bool) -> None:
    prepared, manifest = await prepare(made)
    one = release(1, **vars_of(prepared))
    shutil.rmtree(made.blobs.folder)
    if not cached:
        shutil.rmtree(made.entry().parent)
    made.publisher.open()
    await made.publisher.restore(one)
    assert made.kept() == {file.sha256 for file in manifest.files}
    renewed = await made.publisher.renew(PROJECT, one)
    assert ReleaseManifest.parse(renewed.manifest) == manifest


async def test_another_onnx_form_than_the_signed_one_is_not_put_in_its_place(
    made: Published,
) -> None:
    prepared, manifest = await prepare(made)
    one = release(1, **vars_of(prepared))
    made.blobs.path(sha256(b"onnx")).unlink()
    made.trials.onnx = b"of another library"
    with pytest.raises(Unavailable, match="cannot put back the ONNX form of diabetes-1"):
        await made.publisher.restore(one)
    renewed = ReleaseManifest.parse((await made.publisher.renew(PROJECT, one)).manifest)
    assert renewed.number == manifest.number
    assert {file.sha256 for file in renewed.files} == {
        sha256(content) for content in (*WITH_EXAMPLE.values(), b"of another library")
    }


async def test_files_of_a_version_that_was_registered_anew_are_not_mixed(made: Published) -> None:
    prepared, _ = await prepare(made)
    one = release(1, **vars_of(prepared))
    made.blobs.path(sha256(FILES["model.pkl"])).unlink()
    made.registry.created_at += timedelta(seconds=1)
    made.registry.files["model.pkl"] = b"others"
    for work in (made.publisher.restore(one), made.publisher.renew(PROJECT, one)):
        with pytest.raises(Unavailable, match="has other files under this version"):
            await work


async def test_files_are_put_back_in_the_background_once_the_registry_answers(
    made: Published, caplog: pytest.LogCaptureFixture
) -> None:
    prepared, manifest = await prepare(made)
    one = release(1, **vars_of(prepared))
    shutil.rmtree(made.blobs.folder)
    shutil.rmtree(made.entry().parent)
    made.publisher.open()
    made.registry.away = RegistryUnavailable("cannot look up diabetes-1: no answer")
    for _ in range(5):
        made.publisher.restore_soon(one)
    await until(lambda: "no answer" in caplog.text)
    made.registry.away = None

    def whole() -> bool:
        made.publisher.restore_soon(one)  # as each request for a file does
        return made.kept() == {file.sha256 for file in manifest.files}

    await until(whole)
    await made.publisher.close()


async def test_the_registry_is_not_asked_for_each_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = Published(tmp_path, pause=600)
    prepared, _ = await prepare(made)
    made.blobs.path(sha256(b"onnx")).unlink()
    made.registry.away = RegistryUnavailable("cannot look up diabetes-1: no answer")
    for _ in range(30):
        made.publisher.restore_soon(release(1, **vars_of(prepared)))
        await asyncio.to_thread(lambda: None)
    await until(lambda: "no answer" in caplog.text)
    assert caplog.text.count("no answer") == 1
    await made.publisher.close()


async def test_closing_ends_what_goes_on_in_the_background(made: Published) -> None:
    prepared, _ = await prepare(made)
    shutil.rmtree(made.blobs.folder)
    shutil.rmtree(made.entry().parent)
    made.publisher.open()
    made.registry.gate.clear()
    made.registry.begun.clear()
    made.publisher.restore_soon(release(1, **vars_of(prepared)))
    await made.registry.begun.wait()
    await asyncio.wait_for(made.publisher.close(), 5)
    assert made.kept() == set()


async def test_files_that_no_release_needs_go(made: Published) -> None:
    _, first = await prepare(made)
    made.trials.onnx = b"newer"
    second, manifest = await prepare(made, 2)
    await made.publisher.tidy([second.manifest])
    assert sha256(b"onnx") in made.kept()  # it is new, and its release may not be written down yet
    made.blobs.tidy({file.sha256 for file in manifest.files}, grace=-1)
    assert made.kept() == {file.sha256 for file in manifest.files}
    assert {file.sha256 for file in first.files} - made.kept() == {sha256(b"onnx")}


async def test_what_an_interrupted_controller_left_goes(made: Published) -> None:
    left = made.data_dir / "releases" / "work" / "0123" / "model"
    left.mkdir(parents=True)
    made.publisher.open()
    assert made.left() == []
