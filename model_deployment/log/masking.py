"""Masks passwords in text that is logged."""

import re

_MASK = "***"
#: Of longer text, the middle is dropped.
_LONGEST = 65536

#: ``://user:password@host``. A password that is not encoded may contain everything but a space, so it ends
#: at the last @. Digits after the colon, up to a slash, are a port.
_PASSWORD = re.compile(
    r"(://[^\s:/?#@\"']{0,256}:)(?!\d{1,5}(?:[/?#,\s\"']|$))[^\s\"'<>]{0,2048}@", re.ASCII
)
#: ``://token@host``.
_USER = re.compile(r"://[^\s:/?#@\"']{1,256}@")
#: ``Authorization: Basic ...``, also as a pair of bytes among headers.
_AUTHORIZATION = re.compile(
    r"(authorization[\"']?\s{0,8}[:=,]\s{0,8}(?:b?[\"'])?)(?:(?:basic|bearer|digest|token)\s+)?[^\s\"',)]+",
    re.IGNORECASE,
)
#: Credentials alone: a scheme, followed by what is not a plain word.
_CREDENTIALS = re.compile(r"\b(Basic|Bearer)\s+(?=[a-z]{0,256}[^a-z\s])[\w+/=.~-]{6,}", re.ASCII)
#: ``password=...`` in an address, a connection string, or JSON.
_NAMED = re.compile(
    r"((?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|amz-signature|amz-credential)"
    r"(?:=|[\"']\s{0,8}[:=]\s{0,8})(?:b?[\"'])?)[^\s\"'&,;)}]+",
    re.IGNORECASE,
)


def mask(text: str) -> str:
    """Replace what looks like credentials by asterisks."""
    if len(text) > _LONGEST:
        # The end of a trace says most.
        text = f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 2 :]}"
    if "@" in text:
        text = _PASSWORD.sub(rf"\1{_MASK}@", text)
        text = _USER.sub(f"://{_MASK}@", text)
    text = _AUTHORIZATION.sub(rf"\1{_MASK}", text)
    text = _CREDENTIALS.sub(rf"\1 {_MASK}", text)
    return _NAMED.sub(rf"\1{_MASK}", text)
