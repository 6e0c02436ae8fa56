"""Takes passwords out of text that is about to be logged, wherever they occur in it."""

import re

_MASK = "***"
#: Of longer text, what lies in the middle is not looked at, and not kept either.
_LONGEST = 65536

#: ``://user:password@host``. A password that was not encoded may hold anything but a space, so it ends at
#: the last @. Digits behind the colon, up to a slash, are a port.
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
#: The credentials alone: a scheme, and behind it what is no word of ours.
_CREDENTIALS = re.compile(r"\b(Basic|Bearer)\s+(?=[a-z]{0,256}[^a-z\s])[\w+/=.~-]{6,}", re.ASCII)
#: ``password=...`` in an address, a connection string, or JSON.
_NAMED = re.compile(
    r"((?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|amz-signature|amz-credential)"
    r"(?:=|[\"']\s{0,8}[:=]\s{0,8})(?:b?[\"'])?)[^\s\"'&,;)}]+",
    re.IGNORECASE,
)


def mask(text: str) -> str:
    """The text with what looks like credentials replaced by asterisks."""
    if len(text) > _LONGEST:
        # The end of a trace says most.
        text = f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 2 :]}"
    if "@" in text:
        text = _PASSWORD.sub(rf"\1{_MASK}@", text)
        text = _USER.sub(f"://{_MASK}@", text)
    text = _AUTHORIZATION.sub(rf"\1{_MASK}", text)
    text = _CREDENTIALS.sub(rf"\1 {_MASK}", text)
    return _NAMED.sub(rf"\1{_MASK}", text)
