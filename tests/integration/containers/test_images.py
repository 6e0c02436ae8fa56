"""Images of models' environments: built once, without secrets, and told about."""

import asyncio
import io
import json
import re
import shutil
import tarfile
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import certifi
import pytest

from model_deployment.core.options import Options
from model_deployment.environments.environment import BuildFailed
from model_deployment.runtime.container import images as images_module
from model_deployment.runtime.container import spec
from model_deployment.runtime.container.build import Builder
from model_deployment.runtime.container.engine import Engine, EngineRefused
from model_deployment.runtime.container.environment import Recipe
from model_deployment.runtime.container.images import Failed, Images, Making, Ready
from tests.support.base_image import SMALL
from tests.support.container_bench import ContainerBench
from tests.support.engine import TestEngine
from tests.support.waiting import until

#: What every image of these tests is made from: nothing has to be installed.
RECIPE = Recipe("plain:latest", ("pip",), "0")
SECRET = "https://user:canary@192.0.2.1/simple"


@pytest.fixture
async def images(engine: TestEngine, tmp_path: Path) -> AsyncIterator[Images]:
    with engine.client() as client:
        if not client.images.list(name="plain"):
            engine.make_base("plain", SMALL)
    it = Images(
        builder=Builder(
            engine=Engine(engine.url, timeout=120),
            instance=f"images-{tmp_path.name}",
            network="none",
            index={"PIP_INDEX_URL": SECRET, "PIP_RETRIES": "0"},
        ),
        used=tmp_path / "images.json",
        changed=lambda: None,
    )
    yield it
    it.close()
    it.builder.engine.close()
    with engine.client() as client:
        for one in client.images.list(filters={"label": f"{spec.INSTANCE}={it.builder.instance}"}):
            client.images.remove(str(one.id), force=True)


async def settled(images: Images, recipe: Recipe) -> Ready | Failed:
    def found() -> Ready | Failed | None:
        state = images.state(recipe)
        return None if isinstance(state, Making) else state

    return await until(found, timeout=120, what="an image")


async def test_eight_that_want_one_image_get_one_build(images: Images, engine: TestEngine) -> None:
    recipe = replace(RECIPE, programs="eight")
    first = [images.state(recipe) for _ in range(8)]
    assert all(one is first[0] for one in first)
    ready = await settled(images, recipe)
    assert isinstance(ready, Ready)
    with engine.client() as client:
        label: dict[str, str | list[str] | bool] = {"label": f"{spec.ENVIRONMENT}={recipe.digest}"}
        assert [one.id for one in client.images.list(filters=label)] == [ready.image]
    # The next controller finds it.
    assert await asyncio.to_thread(images.builder.image, recipe, print) == ready.image


async def test_where_packages_come_from_is_in_no_image(images: Images, engine: TestEngine) -> None:
    ready = await settled(images, replace(RECIPE, programs="secret"))
    assert isinstance(ready, Ready)
    with engine.client() as client:
        known = json.dumps(
            [client.images.get(ready.image).attrs, client.images.get(ready.image).history()]
        )
        assert "canary" not in known
        container = client.containers.create(ready.image, ["sleep"], network_mode="none")
        try:
            parts, _ = container.get_archive(spec.PACKAGE)
            content = b"".join(parts)
        finally:
            container.remove()
    assert b"canary" not in content
    assert b"model_deployment/worker/contained.py" in content


async def test_certificates_that_pip_trusts_are_taken_to_the_build_and_in_no_image(
    images: Images, engine: TestEngine, tmp_path: Path
) -> None:
    file = tmp_path / "our-ca.pem"
    images.builder = replace(images.builder, index={**images.builder.index, "PIP_CERT": str(file)})
    recipe = replace(RECIPE, requirements=("no-such-package-anywhere",), programs="certificates")
    failed = await settled(images, recipe)
    assert isinstance(failed, Failed)
    assert "cannot read PIP_CERT" in str(failed.error)
    await asyncio.to_thread(shutil.copy, certifi.where(), file)
    recipe = replace(RECIPE, requirements=("no-such-package-anywhere",), programs="more")
    failed = await settled(images, recipe)
    assert isinstance(failed, Failed)
    assert "No matching distribution" in str(failed.error), failed.error
    ready = await settled(images, replace(RECIPE, programs="trusting"))
    assert isinstance(ready, Ready)
    with engine.client() as client:
        container = client.containers.create(ready.image, ["sleep"], network_mode="none")
        try:
            content = b"".join(container.get_archive(spec.PACKAGE)[0])
        finally:
            container.remove()
    assert b"BEGIN CERTIFICATE" not in content


async def test_build_that_fails_tells_the_lines_that_matter_and_is_tried_again(
    images: Images, engine: TestEngine
) -> None:
    recipe = replace(RECIPE, requirements=("no-such-package-anywhere==1.0",))
    failed = await settled(images, recipe)
    assert isinstance(failed, Failed)
    with pytest.raises(BuildFailed, match=r"no-such-package-anywhere==1\.0") as error:
        images.take(recipe)
    assert "canary" not in str(error.value)
    assert isinstance(images.state(recipe), Making)
    await settled(images, recipe)
    with engine.client() as client:
        label: dict[str, str | list[str] | bool] = {"label": spec.BUILD}
        assert client.containers.list(all=True, filters=label) == []


async def test_image_is_built_again_when_its_base_is_another_one(
    images: Images, engine: TestEngine
) -> None:
    recipe = replace(RECIPE, base="moving:latest", programs="moving")
    with engine.client() as client:
        client.images.get("plain").tag("moving", "latest")
    first = await asyncio.to_thread(images.builder.image, recipe, lambda text: None)
    engine.derive_base("moving", "plain", {"/new": b"new"})
    second = await asyncio.to_thread(images.builder.image, recipe, lambda text: None)
    assert first != second
    with engine.client() as client:
        client.images.remove("moving:latest", force=True)
    # Without the base image, and without a way to get it, the newest one is used.
    assert await asyncio.to_thread(images.builder.image, recipe, lambda text: None) == second


async def test_image_that_is_unused_for_long_is_removed_unless_a_container_has_it(
    images: Images, engine: TestEngine
) -> None:
    recipe = replace(RECIPE, programs="old")
    await settled(images, recipe)
    image = images.take(recipe)
    images.unused = -1.0
    with engine.client() as client:
        container = client.containers.create(image, ["sleep"], network_mode="none")
        assert not container.labels.get(spec.BUILD), "it would be taken for a build"
        await asyncio.to_thread(images.tidy)
        assert client.images.get(image).id == image
        assert client.containers.get(str(container.id)).status == "created"
        container.remove()
        images.unused = images_module.UNUSED
        await asyncio.to_thread(images.tidy)
        assert client.images.get(image).id == image
        images.unused = -1.0
        await asyncio.to_thread(images.tidy)
        assert images.builder.engine.image(image) is None
    # Wanted again, it is built again.
    assert isinstance(images.state(recipe), Making)
    await settled(images, recipe)


async def test_base_image_that_cannot_be_had_is_told_with_advice(images: Images) -> None:
    failed = await settled(images, replace(RECIPE, base="registry.invalid/none:1"))
    assert isinstance(failed, Failed)
    assert "MODEL_DEPLOYMENT_IMAGE_BASE" in str(failed.error)


async def test_image_that_was_removed_by_hand_is_looked_for_again(bench: ContainerBench) -> None:
    runtime = bench.runtime
    for state in runtime._images._states.values():  # type: ignore[attr-defined]
        assert isinstance(state, Ready)
    digest, state = next(iter(runtime._images._states.items()))  # type: ignore[attr-defined]
    runtime._images._states[digest] = replace(state, image="sha256:" + "0" * 64)  # type: ignore[attr-defined]
    with pytest.raises(EngineRefused):
        await bench.start()
    await until(lambda: not runtime.warming(Options(), str(bench.root)), timeout=30)
    handle = await bench.start()
    assert await runtime.poll(handle) is None


def wheel(name: str, files: dict[str, str], requires: str = "") -> bytes:
    """A wheel of version 1 with these files."""
    info = f"{name}-1.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"
    files = {
        **files,
        f"{info}/METADATA": metadata + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return content.getvalue()


def source(name: str, setup: str) -> bytes:
    """A source archive of version 1."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for path, text in (("setup.py", setup), ("PKG-INFO", f"Name: {name}\nVersion: 1\n")):
            info = tarfile.TarInfo(f"{name}-1/{path}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return content.getvalue()


async def test_no_program_of_a_package_runs_in_a_build(images: Images, engine: TestEngine) -> None:
    """It could read the password of the index."""
    run = "open('/ran', 'w').close()\n"
    engine.derive_base(
        "packages",
        "plain",
        {
            "/w/started-1-py3-none-any.whl": wheel(
                "started", {"started.pth": f"import os; {run}", "started.py": "it = 1\n"}
            ),
            "/w/wants-1-py3-none-any.whl": wheel("wants", {}, "built @ file:///w/built-1.tar.gz"),
            "/w/built-1.tar.gz": source("built", run),
        },
    )
    plain = replace(RECIPE, base="packages:latest")
    ready = await settled(images, replace(plain, requirements=("/w/started-1-py3-none-any.whl",)))
    assert isinstance(ready, Ready), ready
    with engine.client() as client:
        container = client.containers.create(ready.image, ["sleep"], network_mode="none")
        try:
            written = b"".join(container.export())  # type: ignore[arg-type] # they are bytes
        finally:
            container.remove()
    with tarfile.open(fileobj=io.BytesIO(written)) as archive:
        names = archive.getnames()
    assert "ran" not in names
    assert any(re.search(r"/__pycache__/started\..*\.pyc", one) for one in names), "not compiled"
    for line in ("/w/wants-1-py3-none-any.whl", "/w/built-1.tar.gz"):
        failed = await settled(images, replace(plain, requirements=(line,)))
        assert isinstance(failed, Failed), line
        assert "only wheels can be installed" in str(failed.error), failed.error
