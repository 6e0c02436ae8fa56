"""Requests and answers of the API, without a network: paths, parameters, problems."""

import json
import re
from collections.abc import AsyncIterable, Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from model_deployment.client.errors import ApiError, Unsendable

JSON = "application/json"
#: A body, whole or in pieces.
Content = bytes | Iterable[bytes] | AsyncIterable[bytes]
#: Items that the controller sends at a time.
LONGEST_PAGE = 1000
#: Characters of a body that is no problem of ours that are shown.
_SHOWN = 200


def path(template: str, *names: str) -> str:
    """A path; each ``{}`` takes one name, in the one spelling that the controller accepts."""
    return template.format(*(quote(name, safe="@") for name in names))


def parameters(given: Mapping[str, Any]) -> dict[str, str]:
    """The query: without what is None, lists with commas."""
    return {name: _text(value) for name, value in given.items() if value is not None}


def _text(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case list() | tuple():
            return ",".join(map(_text, value))
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def body_of(value: Any) -> bytes:
    """A body in JSON.

    Raises:
        Unsendable: it holds NaN or infinity, which JSON has not.
    """
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:
        raise Unsendable(f"cannot send this: {error}") from error


def check_headers(headers: Mapping[str, str]) -> None:
    """Check that headers can be sent as they are.

    Raises:
        Unsendable: one has other characters than printable ASCII.
    """
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise Unsendable(
                f"cannot send {value!r} as {name}: a header takes printable ASCII only"
            )


def api_error(answer: httpx.Response) -> ApiError:
    """What an answer says that is no success; its body has been read."""
    headers = answer.headers
    return ApiError(
        answer.status_code,
        _problem(answer),
        request_id=headers.get("x-request-id", ""),
        retry_after=retry_after(answer),
    )


def retry_after(answer: httpx.Response) -> float | None:
    with suppress(KeyError, ValueError):
        return max(float(answer.headers["retry-after"]), 0.0)
    return None


def next_page(answer: httpx.Response) -> str | None:
    """The query that asks for the next page of a list (RFC 8288, relation ``next``).

    The rest of the address is not used: a password goes to nobody but the controller.
    """
    found = answer.links.get("next", {}).get("url")
    return urlsplit(found).query if found else None


def is_event_stream(answer: httpx.Response) -> bool:
    """Whether an answer comes as server-sent events."""
    kind: str = answer.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower() == "text/event-stream"


def data_of(answer: httpx.Response) -> Any:
    """The JSON of an answer.

    Raises:
        ApiError: it is none, so another program has answered.
    """
    try:
        return json.loads(answer.content)
    except ValueError as error:
        kind = answer.headers.get("content-type", "nothing known").partition(";")[0]
        detail = (
            f"cannot use the answer of {_origin(answer)}: it is {kind}, not JSON. Is this the address of a "
            "controller of model_deployment?"
        )
        problem = {"title": "Not a controller", "detail": detail}
        raise ApiError(answer.status_code, problem) from error


def _problem(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_redirect:
        where = answer.headers.get("location", "")
        detail = (
            f"{_origin(answer)} sends on to {where!r}; use the address of the controller itself"
        )
        return {"title": "Redirected", "detail": detail}
    with suppress(ValueError):
        found = json.loads(answer.content)
        if isinstance(found, dict) and "detail" in found:
            return found
        if isinstance(found, dict) and isinstance(found.get("error"), dict):  # OpenAI's form
            return {"detail": found["error"].get("message", ""), **found}
    text = answer.text
    if "html" in answer.headers.get("content-type", ""):
        text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.I)
    said = " ".join(text.split())[:_SHOWN]
    detail = f"{_origin(answer)} answered {answer.status_code} {answer.reason_phrase}".rstrip()
    return {"title": answer.reason_phrase, "detail": f"{detail}: {said}" if said else detail}


def _origin(answer: httpx.Response) -> str:
    url = answer.url
    return f"{url.scheme}://{url.netloc.decode('ascii')}"
