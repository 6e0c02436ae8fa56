"""Places that training data may come from, and all the ways to name others so that they look alike."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.registry.sources import Places, Web, join, locate

ALLOWED = Places(
    [
        "https://good.example/",
        "https://good.example:8443/data",
        "http://[::1]:9000/",
        "s3://bucket/",
        "s3://shared/team",
    ]
)


def allowed(text: str, places: Places = ALLOWED) -> bool:
    place = locate(text)
    return place is not None and places.allow(place)


@pytest.mark.parametrize(
    "text",
    [
        "https://good.example/a.csv",
        "HTTPS://GOOD.example:443/a/b.csv?signature=x&y=%2e%2e",
        "https://good.example:8443/data/a.csv",
        "http://[::1]:9000/a.csv",
        "s3://bucket/a/b.csv",
        "s3://shared/team/a.csv",
        "https://good.example/a%20b.csv",
    ],
)
def test_what_is_named_is_allowed(text: str) -> None:
    assert allowed(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "a.csv", "../a.csv", "~/a.csv", "ftp://good.example/a.csv", "dbfs:/a.csv", "gs://bucket/a.csv",
        "http://good.example/a.csv", "https://good.example:444/a.csv", "https://good.example:0/a.csv",
        "https://good.example:99999/a.csv", "https://good.example:/a.csv",
        "https://evil.example/a.csv", "https://good.example.evil/a.csv", "https://evilgood.example/a.csv",
        "https://good.example@evil/a.csv", "https://good.example:443@evil/a.csv", "https://a@good.example/a.csv",
        "https://good.example\\@evil/a.csv", "https://evil\\.good.example/a.csv", "https://evil#@good.example/a",
        "https://evil?@good.example/a.csv", "https:///good.example/a.csv", "https:good.example/a.csv",
        "https://good.example./a.csv", "https://good.example%2eevil/a.csv", "https://good\t.example/a.csv",
        "https://good.example\n/a.csv", " https://good.example/a.csv",
        "https://good.example/a.csv\r\nHost: evil",
        "https://good.example/a b.csv", "https://good.example/../a.csv", "https://good.example/%2e%2e/a.csv",
        "https://good.example:8443/data/../a.csv", "https://good.example:8443/data/%2E%2e/a.csv",
        "https://good.example:8443/data/%252e%252e/a.csv", "https://good.example:8443/data/..%2fa.csv",
        "https://good.example:8443/data/..%5ca.csv", "https://good.example:8443/data/a%2fb.csv",
        "https://good.example:8443/data/./a.csv", "https://good.example:8443/database/a.csv",
        "https://good.example:8443/other/a.csv", "https://good.example:8443//data/a.csv",
        "https://good.example/a.csv#x", "https://\uff47ood.example/a.csv", "https://good\u3002example/a.csv",
        "http://[::2]:9000/a.csv", "http://[::1%25eth0]:9000/a.csv",
        "s3://Bucket/a.csv", "s3://bucket.evil/a.csv", "s3://bucket@evil/a.csv", "s3://bucket", "s3://buckets/a.csv",
        "s3://shared/team2/a.csv", "s3://shared/team/../a.csv", "s3://shared/a.csv", "s3://bucket//a.csv",
        "s3://bucket/a/%2e%2e/b.csv", "s3://bucket/a.csv?versionId=1",
        "/etc/passwd", "file:///etc/passwd", "file://evil/etc/passwd", "file:///etc/passwd\0.csv",
    ],
)  # fmt: skip
def test_what_is_not_named_is_not_allowed(text: str) -> None:
    assert not allowed(text)


def test_an_empty_list_allows_nothing(tmp_path: Path) -> None:
    for text in (
        "https://good.example/a.csv",
        "s3://bucket/a.csv",
        str(tmp_path / "a.csv"),
        "/a.csv",
    ):
        assert not allowed(text, Places())


@pytest.mark.parametrize(
    "entry",
    [
        "", "data", "./data", "/", "//", "/data/..", "https://", "https://a@b/", "https://host/?q", "https://*/",
        "https://host/../", "s3://", "s3://bucket", "gs://bucket/", "ftp://host/", "good.example", "*", "file:///x",
    ],
)  # fmt: skip
def test_a_list_that_says_something_else_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"^cannot allow training data from "):
        Places([entry])


def test_files_in_a_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "data", tmp_path / "database"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.csv").touch()
    (tmp_path / "link").symlink_to(inside)
    (inside / "escape").symlink_to(outside)
    (inside / "file.csv").symlink_to(outside / "a.csv")
    (inside / "circle").symlink_to(inside / "circle")
    for places in (Places([str(inside)]), Places([f"{tmp_path}/link/"])):
        for text in ("data/a.csv", "link/a.csv", "database/../data/a.csv", "data/none.csv"):
            assert allowed(f"{tmp_path}/{text}", places)
            assert allowed(f"file://{tmp_path}/{text}", places)
        for text in (
            "database/a.csv",
            "data/../database/a.csv",
            "data/%2e%2e/database/a.csv",
            "data/escape/a.csv",
            "data/file.csv",
            "data/circle/../../database/a.csv",
            "DATA/a.csv",
            "data",
        ):
            if "%" not in text:
                assert not allowed(f"{tmp_path}/{text}", places)
            assert not allowed(f"file://{tmp_path}/{text}", places)


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("/b.csv", "https://good.example/b.csv"),
        ("https://good.example/b.csv#part", "https://good.example/b.csv"),
        ("http://good.example/b.csv", "http://good.example/b.csv"),
        ("//evil/b.csv", None),
        ("b.csv", None),
        ("/../b.csv", None),
        ("file:///etc/passwd", None),
        ("s3://bucket/a.csv", None),
        ("", None),
    ],
)
def test_where_a_redirect_leads(target: str, place: str | None) -> None:
    found = join(Web("https", "good.example", 443, "/a.csv"), target)
    assert (str(found) if found else None) == place


def test_a_place_is_shown_without_its_query() -> None:
    assert (
        str(locate("https://good.example:8443/a.csv?sig=secret"))
        == "https://good.example:8443/a.csv"
    )


@given(
    st.text() | st.from_regex(r"(https?|s3|file)://?/?[a-z.@:/%\\#?\[\]-]{0,30}", fullmatch=True)
)
def test_nothing_else_is_allowed(text: str) -> None:
    if allowed(text):
        lower = text.lower()
        assert lower.startswith(
            ("https://good.example/", "https://good.example:", "http://[::1]:9000", "s3://")
        )
