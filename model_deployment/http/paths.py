"""The canonical spelling of paths. Pure.

If two parsers read a path differently, access rules can be evaded. So a path has to equal its own canonical
encoding: unreserved characters and slashes as they are, all others percent-encoded. ``@`` may be written
both ways: RFC 3986, section 3.3, allows it in a segment, so most clients send it as it is; those that are
made from OpenAPI encode it as they encode all parameters.
"""

from urllib.parse import quote

#: What is said of another spelling.
NON_CANONICAL = (
    "cannot use this path: write it without '.' or empty segments, and percent-encode only reserved "
    "characters, with capital letters (%2F); a space is %20"
)


def is_canonical(raw_path: bytes, path: str) -> bool:
    """Whether a path as it came is the canonical encoding of the decoded path."""
    if quote(path, safe="/@").encode() != raw_path.replace(b"%40", b"@"):
        return False
    if not path.startswith("/") or any(char < " " or char == "\x7f" for char in path):
        return False
    segments = path.split("/")[1:]
    return not any(part in (".", "..") for part in segments) and "" not in segments[:-1]
