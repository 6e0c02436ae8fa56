"""Tells people who opened an address with a browser from programs."""

from collections.abc import Mapping


def is_navigation(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a browser opens a page; scripts of pages, and programs, do not ask for HTML first.

    Args:
        headers: with names in lower case.
    """
    return method == "GET" and headers.get(b"accept", b"").startswith(b"text/html")
