"""The manifest: one text for the same parts, and nothing that a device would refuse."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from model_deployment.devices.manifest import (
    ReleaseFile,
    ReleaseManifest,
    UnfitRelease,
    canonical,
    finite,
    unsafe,
    wanted_blobs,
)
from tests.support.cases import each
from tests.support.manifests import FULL, PLAIN


def test_the_text_is_canonical() -> None:
    assert PLAIN.text() == (
        '{"answer":null,"created":1769860800005,"example":null,"expires":1769860800005,"files":'
        '[{"path":"model/MLmodel","sha256":"' + "a" * 64 + '","size":7}],"format":1,'
        '"minimum_agent":"0.1.0","model":"m","number":1,"onnx":{"why_not":"why \\"not\\"\\n"},'
        '"project":"p","reverts":null,"version":1}'
    )


def test_the_text_is_ascii_with_sorted_keys_and_without_spaces() -> None:
    assert canonical({"b": 1, "a": [1.5, "é\u2028😀"], "A": None}) == (
        '{"A":null,"a":[1.5,"\\u00e9\\u2028\\ud83d\\ude00"],"b":1}'
    )
    for odd in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            canonical([odd])


@pytest.mark.parametrize("manifest", [FULL, PLAIN])
def test_what_is_written_is_read(manifest: ReleaseManifest) -> None:
    text = manifest.text()
    found = ReleaseManifest.parse(text)
    assert found == manifest
    assert found.text() == text
    assert text.isascii()


def _without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda found: found.pop(name)


@each(
    "change",
    [
        *(_without(name) for name in json.loads(FULL.text())),
        lambda found: found.update(format=2),
        lambda found: found.update(number=0),
        lambda found: found.update(number=True),
        lambda found: found.update(version="3"),
        lambda found: found.update(model="../x"),
        lambda found: found.update(expires=1.5),
        lambda found: found.update(expires=10**30),
        lambda found: found.update(minimum_agent="1.0"),
        lambda found: found.update(example="model/other"),
        lambda found: found.update(files=None),
        lambda found: found["files"].append(found["files"][0]),
        lambda found: found["files"][0].update(path="../../etc/passwd"),
        lambda found: found["files"][0].update(size=-1),
        lambda found: found["files"][0].update(sha256="A" * 64),
        lambda found: found.update(onnx={}),
        lambda found: found["onnx"].update(outputs=[]),
        lambda found: found["onnx"]["inputs"][0].update(type="float16"),
        lambda found: found["onnx"].update(max_difference=-1),
        lambda found: found.update(answer=[1]),
    ],
)
def test_what_is_no_manifest_is_refused(change: Callable[[dict[str, Any]], Any]) -> None:
    found = json.loads(FULL.text())
    change(found)
    with pytest.raises(ValueError, match="cannot read the manifest: "):
        ReleaseManifest.parse(json.dumps(found))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", '"x"', "{}"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot read the manifest: "):
        ReleaseManifest.parse(text)


@pytest.mark.parametrize(
    "path",
    [
        "", "/etc/passwd", "..", "a/../b", "a/./b", "a//b", "a/", "./a", "a\\b", "a\nb", "a\0b", "a\u202eb",
        "\udc80", "a" * 256, "ä" * 200, "/".join(["abc"] * 300),
    ],
)  # fmt: skip
def test_paths_that_leave_their_folder_or_its_rules_are_not_used(path: str) -> None:
    assert unsafe(path)
    manifest = replace(PLAIN, files=(ReleaseFile(path, 1, "a" * 64),))
    with pytest.raises(UnfitRelease, match=r"cannot release m-1: its file .*register the model"):
        manifest.text()


@pytest.mark.parametrize("path", ["model/MLmodel", "a", "ä b/..c/d..", "a" * 255, ".hidden"])
def test_other_paths_are_used(path: str) -> None:
    assert not unsafe(path)


def test_a_manifest_that_no_frame_holds_is_refused() -> None:
    files = tuple(ReleaseFile(f"model/{n}", 1, f"{n:064x}") for n in range(6000))
    with pytest.raises(UnfitRelease, match="put the files into an archive"):
        replace(PLAIN, files=files).text()
    text = replace(PLAIN, files=files[:4500]).text()
    assert len(json.dumps({"type": "desired", "release": {"manifest": text}})) < 2**20


def test_what_is_no_number_is_null() -> None:
    nan, inf = float("nan"), float("inf")
    assert finite({"a": [1.5, nan, (inf, -inf)], 1: "x", "b": True}) == {
        "a": [1.5, None, [None, None]], "1": "x", "b": True,
    }  # fmt: skip


def test_files_are_wanted_by_all_manifests() -> None:
    assert {*wanted_blobs([FULL.text(), PLAIN.text()])} == {"a" * 64, "b" * 64, "c" * 64}
    assert {*wanted_blobs([])} == set()
