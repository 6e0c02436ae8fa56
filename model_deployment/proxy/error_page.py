"""An error as a small page, for people who opened an address with a browser: programs get the problem."""

from html import escape

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.proxy.dialect import ErrorAnswer, headers_of

#: The dashboard's files need a password too, and this page may be shown for want of one.
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title} \u00b7 model_deployment</title></head>
<body><main><h1>{title}</h1><p>{detail}</p><p><a href="/">Overview</a></p></main></body>
</html>
"""


def page(error: ModelDeploymentError) -> ErrorAnswer:
    """Status, headers and body."""
    text = _PAGE.format(title=escape(error.title), detail=escape(error.detail)).encode()
    headers = headers_of(error, b"text/html; charset=utf-8", text)
    return (
        error.status,
        [
            *headers,
            (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
            (b"cache-control", b"no-store"),
        ],
        text,
    )
