"""Versions of training data: whole or not at all, each file once, newest first."""

from pathlib import Path

import pytest

from model_deployment.core.errors import InvalidName, NotFound
from model_deployment.training_data.versions import KnownVersion, Versions
from tests.support.kept_versions import kept


def test_versions_are_listed_newest_first_and_by_experiment(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    assert (versions.list(), versions.newest("income")) == ([], None)
    first = kept(versions, b"a\n1\n")
    other = kept(versions, b"a\n2\n", "sales", after=1)
    last = kept(versions, b"a\n3\n", after=2)
    assert versions.list() == [last, other, first]
    assert versions.list("income") == [last, first]
    assert versions.newest("income") == versions.get(last.sha256) == last
    assert last.path.read_bytes() == b"a\n3\n"


def test_the_same_file_is_kept_once_and_named(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    first = kept(versions, b"a\n1\n")
    with pytest.raises(KnownVersion, match=first.sha256) as known:
        kept(versions, b"a\n1\n", "sales")
    assert known.value.problem()["experiment"] == "income"
    assert [path.name for path in versions.folder.iterdir()] == [first.sha256]


def test_a_deleted_version_is_gone_with_its_analyses(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    sha = kept(versions, b"a\n1\n").sha256
    versions.keep_analysis(sha, "income", {"findings": []}, "<p>ü")
    versions.keep_analysis(sha, "a.b", {"findings": [1]}, "")
    versions.keep_registry(sha, {"run_id": "7"})
    assert versions.analyses(sha) == {"income": {"findings": []}, "a.b": {"findings": [1]}}
    assert versions.page(sha, "income").read_text("utf-8") == "<p>ü"
    assert versions.registry(sha) == {"run_id": "7"}
    versions.delete(sha)
    assert list(versions.folder.iterdir()) == []
    for call in (versions.get, versions.analyses, versions.delete):
        with pytest.raises(NotFound, match=sha):
            call(sha)


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".x", "a" * 200, "ü", "a\n"])
def test_odd_names_reach_no_file(tmp_path: Path, name: str) -> None:
    versions = Versions(tmp_path)
    sha = kept(versions, b"a\n1\n").sha256
    with pytest.raises(InvalidName):
        versions.keep_analysis(sha, name, {}, "")
    with pytest.raises(NotFound):
        versions.get(name)
    with pytest.raises(NotFound):
        versions.delete(name)


def test_what_a_killed_process_left_is_no_version_and_is_swept(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    version = kept(versions, b"a\n1\n")
    (versions.folder / ".incoming-1").mkdir()
    (versions.folder / ("0" * 64)).mkdir()
    assert versions.list() == [version]
    with pytest.raises(NotFound):
        versions.get("0" * 64)
    versions.sweep()
    assert not (versions.folder / ".incoming-1").exists()
    assert versions.list() == [version]


def test_a_damaged_version_can_be_uploaded_again(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    first = kept(versions, b"a\n1\n")
    (first.path.parent / "version.json").write_text("{")
    assert kept(versions, b"a\n1\n") == first
    assert versions.list() == [first]
