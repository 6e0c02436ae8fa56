"""One spelling of each path is canonical."""

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.http.paths import is_canonical
from tests.support.cases import each


def canonical(raw: str | bytes) -> bool:
    """As the server has it: the raw path, and what it decodes that to."""
    encoded = raw if isinstance(raw, bytes) else raw.encode()
    return is_canonical(encoded, unquote(encoded.decode("latin-1")))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/diabetes-1",
        "/diabetes-1/invocations",
        "/my%20model-1",
        "/a.b_c~d-1",
        "/...",
        "/..a",
        "/.well-known/x",
        "/static/",  # a slash at the end is another path, and at most not found
        "/caf%C3%A9-1",
        "/cafe%CC%81-1",
        "/a%2Bb",
        "/a@b",
        "/a@b/invocations",
        "/a%40b",
        "/a%25b",  # a percent sign that was meant
        "/a%252fb",
        "/%EF%BF%BD",
    ],
)
def test_canonical_path_is_accepted(path: str) -> None:
    assert canonical(path)


@each(
    "path",
    [
        # Ways up.
        "/..",
        "/.",
        "/../etc/passwd",
        "/a/../undeploy/x",
        "/a/./b",
        "/a/..",
        "/a/../",
        "/..%2f",
        "/..%2F",
        "/%2e%2e",
        "/%2E%2E",
        "/%2e%2e%2fetc",
        "/.%2e/a",
        "/%2e/a",
        "/..%5c",
        "/..\\a",
        "/..;/a",
        "/a;x=1",
        "/%252e%252e/..",
        # Empty segments.
        "//",
        "//undeploy/x",
        "/a//b",
        "/a//",
        "///",
        # Escapes of what needs none.
        "/a%2db-1",
        "/a%2Db-1",
        "/%61",
        "/a%2fb",
        "/a%2Fb",
        "/%7Euser",
        # Escapes in lower case, broken, or of control characters.
        "/a%c3%a9",
        "/a%2bb",
        "/a%",
        "/a%2",
        "/a%zz",
        "/%00",
        "/a%00.json",
        "/a%0a",
        "/a%0Ab",
        "/a%0D%0Ab",
        "/a%09b",
        "/a%1F",
        "/a%7F",
        "/%1B[2J",
        # What would have needed an escape.
        "/a b",
        "/a+b",
        "/a?b",
        "/a#b",
        "/a:b",
        "/a|b",
        "/$(id)",
        "/=cmd()",
        "/*",
        "*",
        "/caf\u00e9-1",
        # No UTF-8: no one spelling, as it decodes to a substitute.
        "/%ff",
        "/%FF",
        "/%C3",
        "/%C0%AE%C0%AE",  # an overlong ".."
        "/%ED%A0%80",
        b"/\xff",
        b"/caf\xe9",
    ],
)
def test_non_canonical_path_is_refused(path: str | bytes) -> None:
    assert not canonical(path)


@pytest.mark.parametrize("path", ["", "a", "..", "../etc", "http"])
def test_path_without_leading_slash_is_refused(path: str) -> None:
    assert not canonical(path)


PLAIN = st.characters(exclude_categories=["Cs"], min_codepoint=32, exclude_characters="\x7f")
segments = st.text(PLAIN, min_size=1, max_size=20).filter(lambda part: part not in (".", ".."))


@given(st.lists(segments, max_size=4))
def test_path_of_any_text_has_one_canonical_spelling(parts: list[str]) -> None:
    path = "/" + "/".join(quote(part, safe="@") for part in parts)
    # A slash inside a segment has none: its escape could be read as a slash of the path.
    assert canonical(path) is ("/" not in "".join(parts))


@given(st.binary(max_size=12).map(lambda tail: b"/" + tail))
def test_canonical_paths_are_unambiguous(raw: bytes) -> None:
    if canonical(raw):
        assert (
            raw.replace(b"%40", b"@")
            == b"/" + quote(unquote(raw.decode("latin-1"))[1:], safe="/@").encode()
        )
        assert raw.isascii()
