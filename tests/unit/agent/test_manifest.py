"""What a device accepts: hostile manifests that are signed, and good ones that are not for it."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_deployment_agent.errors import ReleaseRefused
from model_deployment_agent.manifest import Manifest, Offer, check, opened, safe_path, version_tuple

from tests.support.edge_models import Signer

SIGNER = Signer()
GOOD = json.loads(SIGNER.release(7)["manifest"])


def _open(**changes: Any) -> Manifest:
    text = json.dumps({**GOOD, **changes})
    return opened(Offer.of(SIGNER.signed(text)), SIGNER.public)


def test_a_good_one_is_read() -> None:
    found = _open()
    assert (found.project, found.number, found.model, found.version) == ("hall", 7, "wear", 7)
    assert found.size == sum(file["size"] for file in GOOD["files"])
    check(found, project="hall", highest=7, running={None}, now=found.expires - 1)


def test_equal_contents_have_one_folder_whenever_they_expire() -> None:
    folder = _open().folder
    assert folder.startswith("7-")
    later = {
        "expires": GOOD["expires"] + 1,
        "created": GOOD["created"] + 1,
        "files": GOOD["files"][::-1],
    }
    assert _open(**later).folder == folder
    for change in ({"number": 8}, {"version": 8}, {"answer": None}, {"files": GOOD["files"][1:]}):
        assert _open(**change).folder != folder


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "model", "model/", "/model/x", "other/x", "../model/x", "model/../x", "model/./x",
        "model//x",
        "model/..", "C:/model/x", "model\\..\\x", "model/a\nb", "model/\u202ex", "model/" + "x" * 256,
        "model/" + "é" * 128, "model/x\x00y", "Model/x", "model/" + "x/" * 600 + "x",
    ],
)  # fmt: skip
def test_paths_that_leave_the_folder_or_deceive_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="may not be used"):
        safe_path(path)
    with pytest.raises(ReleaseRefused, match="may not be used"):
        _open(files=[{"path": path, "size": 1, "sha256": "0" * 64}], example=None)


@pytest.mark.parametrize(
    "path", ["model/x", "onnx/model.onnx", "model/a b/ü.bin", "model/...", "model/.x"]
)
def test_other_paths_are_taken(path: str) -> None:
    assert safe_path(path) == path


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2}, {"number": 0}, {"number": True}, {"number": "7"}, {"number": 2**53}, {"version":
        1.5}, {"expires": -1}, {"minimum_agent": "1"}, {"minimum_agent": "1.0.0-rc1"}, {"project": ""},
        {"project": None},
        {"files": {}}, {"files": [{}]}, {"files": [{"path": "model/x", "size": -1, "sha256": "0" * 64}]},
        {"files": [{"path": "model/x", "size": 1, "sha256": "A" * 64}]},
        {"files": [{"path": "model/x", "size": 1, "sha256": "0" * 64}] * 2},
        {"files": [{"path": one, "size": 1, "sha256": "0" * 64} for one in ("model/x", "model/x/y")]},
        {"example": "model/other"}, {"onnx": None}, {"answer": 1}, {"onnx": []},
        {"answer": {"predictions": [1], "tolerance": None}}, {"answer": {"tolerance": "1e-4"}},
    ],
    ids=str,
)  # fmt: skip
def test_a_manifest_that_breaks_a_rule_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ReleaseRefused, match="cannot read the manifest"):
        _open(**{"example": None, **change})


@given(
    st.sampled_from(sorted(GOOD)), st.none() | st.integers() | st.text() | st.lists(st.integers())
)
def test_nothing_that_is_signed_breaks_the_reader(name: str, value: Any) -> None:
    with contextlib.suppress(ReleaseRefused):
        assert _open(**{name: value}).number > 0


@pytest.mark.parametrize("found", [None, 1, [], {}, {"manifest": "{}", "signature": 1, "key": ""}])
def test_an_offer_that_is_none_is_refused(found: object) -> None:
    with pytest.raises(ReleaseRefused):
        Offer.of(found)


def test_the_signature_counts_for_every_character() -> None:
    offer = SIGNER.release(7)
    for changed in (
        {**offer, "manifest": offer["manifest"] + " "},
        {**offer, "signature": "?" + offer["signature"]},
        {**offer, "signature": ""},
        {**offer, "manifest": "\ud800"},
    ):
        with pytest.raises(ReleaseRefused, match="its signature does not fit"):
            opened(Offer.of(changed), SIGNER.public)
    with pytest.raises(ReleaseRefused, match="it is signed by key"):
        opened(Offer.of(offer), Signer().public)


def test_what_runs_is_never_too_low_or_expired() -> None:
    found = _open()
    for now, highest in ((found.expires, 7), (found.expires - 1, 8)):
        with pytest.raises(ReleaseRefused):
            check(found, project="hall", highest=highest, running={None}, now=now)
        check(found, project="hall", highest=highest, running={found.folder}, now=now)


def test_versions_are_compared_as_numbers() -> None:
    assert version_tuple("0.10.0") > version_tuple("0.9.9")
    with pytest.raises(ReleaseRefused, match=r"needs agent 0\.10\.0"):
        check(_open(minimum_agent="0.10.0"), project="hall", highest=0, running={None}, now=0)
