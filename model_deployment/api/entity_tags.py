"""Entity tags in conditions of requests (RFC 9110, section 13.1). Pure."""


def is_known(tag: str, known: str | None) -> bool:
    """Whether ``If-None-Match`` has a tag; both are compared weakly (RFC 9110, section 13.1.2)."""
    if known is None:
        return False
    tags = [one.strip().removeprefix("W/") for one in known.split(",")]
    return known.strip() == "*" or tag in tags
