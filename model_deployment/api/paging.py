"""Pages of lists: ``limit`` and ``after`` in the query, and the address of the next page in ``Link``.

The body stays a list (RFC 8288 has the header). A page goes on behind a name, not at a number: what comes
or goes meanwhile moves nothing.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Query, Request, Response

Limit = Annotated[
    int | None,
    Query(
        ge=1, le=1000, description="Length of a page; all, if left out. `Link` has the next page."
    ),
]
After = Annotated[
    str | None,
    Query(max_length=300, description="Begin behind this name, the last one of the page before."),
]


class _Ordered(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...


T = TypeVar("T")
Place = TypeVar("Place", bound=_Ordered)


def page(
    found: Sequence[T],
    place: Callable[[T], Place],
    *,
    limit: int | None,
    after: Place | None,
    request: Request,
    response: Response,
) -> list[T]:
    """The page behind ``after``, in the order of the places, at most ``limit`` long."""
    ordered = sorted(found, key=place)
    rest = ordered if after is None else [one for one in ordered if after < place(one)]
    shown = rest[:limit]
    if len(shown) < len(rest):
        next_page(request, response, after=place(shown[-1]))
    return shown


def next_page(request: Request, response: Response, *, after: object) -> None:
    """Write the address of the page behind a place into the header of an answer."""
    url = request.url.include_query_params(after=str(after))
    response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
