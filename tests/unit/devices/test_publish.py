"""Releases are made whole or not at all."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.errors import (
    Conflict,
    DiskFull,
    ModelDeploymentError,
    RegistryUnavailable,
    Unavailable,
    UnknownModel,
)
from model_deployment.devices import model_files
from model_deployment.devices.manifest import (
    ExampleAnswer,
    NoOnnxForm,
    OnnxForm,
    OnnxInput,
    UnfitRelease,
)
from model_deployment.devices.model_files import PlainFile, plain_files
from model_deployment.devices.publish import LIFETIME
from model_deployment.devices.signing import KEY_FILE, UnusableKey
from tests.support.downloads import FILES
from tests.support.published import (
    EXAMPLE,
    FORM,
    WHEN,
    WITH_EXAMPLE,
    FileRegistry,
    Published,
    prepare,
    sha256,
)
from tests.support.small_disk import fill, small_disk


async def test_a_release_has_the_files_of_its_version_and_the_onnx_form(made: Published) -> None:
    prepared, manifest = await prepare(made, 4, reverts=2)
    expected = {f"model/{name}": content for name, content in WITH_EXAMPLE.items()}
    expected["onnx/model.onnx"] = b"onnx"
    assert {one.path: (one.size, one.sha256) for one in manifest.files} == {
        path: (len(content), sha256(content)) for path, content in expected.items()
    }
    assert made.kept() == {sha256(content) for content in expected.values()}
    assert (manifest.project, manifest.number, manifest.reverts) == ("hall", 4, 2)
    assert (manifest.created, manifest.expires) == (WHEN, WHEN + LIFETIME)
    assert manifest.example == f"model/{EXAMPLE}"
    assert manifest.answer == ExampleAnswer([1.5], 1e-4)
    assert manifest.onnx == OnnxForm((OnnxInput("input", ("a",), "float32"),), ("variable",), 1e-7)
    assert (await made.key.get()).verifies(prepared.manifest, prepared.signature)
    assert made.left() == []


async def test_the_model_is_tried_on_a_copy(made: Published) -> None:
    await prepare(made)
    assert made.trials.seen == [{*WITH_EXAMPLE}]
    assert (made.entry() / "MLmodel").read_bytes() == FILES["MLmodel"]
    assert made.blobs.checked(sha256(FILES["MLmodel"]))


async def test_a_second_release_loads_nothing_again(made: Published) -> None:
    _, first = await prepare(made, 1)
    _, second = await prepare(made, 2)
    assert first.files == second.files
    assert made.registry.downloads == 1


@pytest.mark.parametrize(
    ("change", "onnx", "answer"),
    [
        (lambda made: setattr(made.trials, "onnx", None), "told so", ExampleAnswer([1.5], 1e-4)),
        (lambda made: setattr(made, "untried", "it runs in a container"), "container", None),
        (lambda made: setattr(made.trials, "memory", 20), "20 B|0 MiB", None),
        (
            lambda made: setattr(made.trials, "form", {**FORM, "outputs": []}),
            "described wrongly",
            ExampleAnswer([1.5], 1e-4),
        ),
        (
            lambda made: setattr(made.trials, "form", {"inputs": [1], "outputs": 2}),
            "described wrongly",
            ExampleAnswer([1.5], 1e-4),
        ),
    ],
)
async def test_without_an_onnx_form_the_release_says_why(
    made: Published, change: Callable[[Published], None], onnx: str, answer: ExampleAnswer | None
) -> None:
    change(made)
    _, manifest = await prepare(made)
    assert isinstance(manifest.onnx, NoOnnxForm)
    assert any(words in manifest.onnx.why_not for words in onnx.split("|"))
    assert manifest.answer == answer
    assert manifest.example == f"model/{EXAMPLE}"
    assert [one.path for one in manifest.files if one.path.startswith("onnx/")] == []


async def test_a_model_without_an_example_has_no_answer(tmp_path: Path) -> None:
    made = Published(tmp_path, FileRegistry(dict(FILES)))
    made.untried = "never"
    _, manifest = await prepare(made)
    assert (manifest.example, manifest.answer) == (None, None)


@pytest.mark.parametrize(
    ("predictions", "answer"),
    [
        (["x" * 70_000], None),  # no frame is to carry it
        (None, None),
        ([float("nan"), {"a": float("inf")}, "ü"], ExampleAnswer([None, {"a": None}, "ü"], 1e-4)),
    ],
)
async def test_answers_are_json_of_limited_length(
    made: Published, predictions: Any, answer: ExampleAnswer | None
) -> None:
    made.trials.predictions = predictions
    _, manifest = await prepare(made)
    assert manifest.answer == answer


async def test_a_damaged_cache_is_fetched_again(made: Published) -> None:
    _, first = await prepare(made)
    (made.entry() / "model.pkl").write_bytes(b"\x80Weights")  # and with it the blob
    _, second = await prepare(made, 2)
    assert second.files == first.files
    assert made.registry.downloads == 2
    assert made.blobs.checked(sha256(FILES["model.pkl"]))


@pytest.mark.parametrize("change", ["removed", "replaced"])
async def test_an_entry_that_changes_while_its_files_are_taken_is_taken_again(
    made: Published, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """As when a deployment finds it damaged, and another download takes its place."""
    taken = []

    def take(folder: Path, digests: Mapping[str, str]) -> dict[str, PlainFile]:
        found = plain_files(folder, digests)
        taken.append(folder)
        if len(taken) == 1:
            (folder / "model.pkl").unlink()
            if change == "replaced":
                (folder / "model.pkl").write_bytes(b"others")
        return found

    monkeypatch.setattr(model_files, "plain_files", take)
    _, manifest = await prepare(made)
    assert len(taken) == 2
    assert sha256(FILES["model.pkl"]) in {file.sha256 for file in manifest.files}
    assert made.registry.downloads == 2


async def test_a_damaged_cache_that_cannot_be_fetched_again_is_said(made: Published) -> None:
    await prepare(made)
    (made.entry() / "model.pkl").write_bytes(b"other")
    made.registry.error = RegistryUnavailable("cannot download diabetes-1: no answer")
    with pytest.raises(Unavailable, match=r"cannot release diabetes-1: .*damaged.*no answer"):
        await prepare(made, 2)


async def _unknown(made: Published) -> None:
    made.registry.away = UnknownModel("cannot look up diabetes-1")


async def _away(made: Published) -> None:
    made.registry.away = RegistryUnavailable("cannot look up diabetes-1: no answer")


async def _pending(made: Published) -> None:
    made.registry.status = "PENDING_REGISTRATION"


async def _broken_download(made: Published) -> None:
    made.registry.error = RegistryUnavailable("cannot download diabetes-1")


async def _no_model(made: Published) -> None:
    del made.registry.files["MLmodel"]


async def _odd_name(made: Published) -> None:
    made.registry.files["a\nb"] = b""


async def _full(made: Published) -> None:
    made.trials.error = OSError(28, "No space left on device")


async def _no_process(made: Published) -> None:
    made.trials.error = OSError(11, "Resource temporarily unavailable")


async def _no_key(made: Published) -> None:
    (made.data_dir / KEY_FILE).write_text("damaged")


@pytest.mark.parametrize(
    ("trouble", "error", "words"),
    [
        (_unknown, UnknownModel, "cannot look up"),
        (_away, RegistryUnavailable, "no answer"),
        (_pending, Conflict, "its status in the registry is PENDING_REGISTRATION"),
        (_broken_download, RegistryUnavailable, "cannot download"),
        (_no_model, Unavailable, "they contain no MLmodel file"),
        (_odd_name, UnfitRelease, "characters that not every file system takes"),
        (_full, DiskFull, "free some space"),
        (_no_process, Unavailable, "temporarily unavailable"),
        (_no_key, UnusableKey, "holds no Ed25519 key"),
    ],
)
async def test_what_stands_in_the_way_is_said(
    made: Published,
    trouble: Callable[[Published], Any],
    error: type[ModelDeploymentError],
    words: str,
) -> None:
    await trouble(made)
    with pytest.raises(error, match=words) as raised:
        await prepare(made)
    assert raised.value.detail.startswith("cannot ")
    assert made.left() == []
    assert not [name for name in made.kept() if name.startswith(".")]


async def test_nothing_is_fetched_without_a_key(made: Published) -> None:
    await _no_key(made)
    with pytest.raises(UnusableKey):
        await prepare(made)
    assert made.registry.downloads == 0


async def test_a_disk_that_fills_up_leaves_other_releases_whole(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "80m") as disk:
        made = Published(disk)
        _, first = await prepare(made)
        fill(disk)
        made.trials.onnx = b"another" * 10_000
        made.registry.created_at += timedelta(seconds=1)
        with pytest.raises((DiskFull, Unavailable)):
            await prepare(made, 2)
        assert all(made.blobs.checked(one.sha256) for one in first.files)
        assert made.left() == []
