"""Pages of a list, one after the other, are the list; what comes and goes meanwhile moves nothing."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import Request, Response
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.api.paging import page

NAMES = st.sets(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), max_size=20
)


def ask(found: list[str], limit: int | None, after: str | None) -> tuple[list[str], str | None]:
    scope: dict[str, Any] = {
        "type": "http", "method": "GET", "scheme": "http", "server": ("127.0.0.1", 8000),
        "path": "/endpoints", "query_string": b"model=a%20b&after=old", "headers": [],
    }  # fmt: skip
    response = Response()
    shown = page(
        found,
        lambda name: name,
        limit=limit,
        after=after,
        request=Request(scope),
        response=response,
    )
    link = response.headers.get("link")
    if link is None:
        return shown, None
    match = re.fullmatch(r'<(.+)>; rel="next"', link)
    assert match is not None
    query = parse_qs(urlsplit(match[1]).query)
    assert query["model"] == ["a b"]
    return shown, query["after"][0]


@given(NAMES, NAMES, NAMES, st.integers(1, 7))
def test_pages_are_the_list(names: set[str], come: set[str], go: set[str], limit: int) -> None:
    found, after = ask([*names], limit, None)
    assert len(found) <= limit
    while after is not None:
        shown, after = ask([*(names | come) - go], limit, after)
        assert len(shown) <= limit
        found += shown
    assert found == sorted(set(found))
    assert names - go <= set(found) <= names | come
    assert ask([*names], None, None) == (sorted(names), None)
