"""What does not fit in a call is told in words for whoever made it."""

import json
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from model_deployment.api import problems
from model_deployment.api.monitoring import FeedbackIn
from model_deployment.api.options import DeployOptions
from model_deployment.api.unknown_parameters import StrictRoute, known_parameters_only

JSON = {"content-type": "application/json"}


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    weight: float


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    parts: list[Inner] = Field(max_length=3)
    names: dict[str, Inner] | None = None


async def ask(path: str, body: bytes = b"", method: str = "POST", **headers: str) -> httpx.Response:
    app = FastAPI(dependencies=[Depends(known_parameters_only)])
    app.router.route_class = StrictRoute
    problems.install(app)

    @app.post("/deploy")
    async def deploy(wait: float = 1, options: DeployOptions | None = None) -> Any:
        return options

    @app.post("/feedback")
    async def feedback(body: FeedbackIn) -> Any:
        return body

    @app.post("/outer")
    async def outer(body: Outer) -> Any:
        return body

    @app.post("/bodiless")
    async def bodiless(limit: Annotated[int, Query(ge=1)] = 1) -> int:
        return limit

    @app.get("/bodiless")
    async def get_bodiless() -> int:
        return 1

    transport = httpx.ASGITransport(app)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path, content=body, headers=named)


async def problem(status: int, path: str, body: bytes = b"", **more: str) -> Any:
    answer = await ask(path, body, **({"content_type": "application/json"} | more))
    assert answer.status_code == status, answer.text
    found = answer.json()
    assert found["detail"].startswith("cannot ")
    assert found["detail"].isprintable()
    return found


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/deploy", b'{"validation": "strickt"}', "validation in the body: it must be 'strict', "),
        ("/deploy", b'{"validation": "strickt"}', 'got "strickt"'),
        ("/deploy", b'{"worker": 2}', "worker in the body: there is no such member; did you mean workers?"),
        ("/deploy", b'{"Capture_Hash": []}', "did you mean capture_hash?"),
        ("/deploy", b'{"zzz": 2}', "the members are env_manager, "),
        ("/deploy", b'{"\\ud800": 2}', "the body: it contains half of a surrogate pair"),
        ("/deploy", b'{"workers": "2"}', 'workers in the body: it must be a valid integer, got "2"'),
        ("/deploy", b'{"workers": null, "batch_max_rows": []}', "it must be a valid integer, got a list"),
        ("/deploy", b'{"capture_hash": "age"}', 'capture_hash in the body: it must be a list, got "age"'),
        ("/deploy", b'{"capture_hash": ["a", 1]}', "capture_hash[1] in the body: it must be a valid"),
        ("/deploy", b'{"capture_hash": ["\\udfff"]}', "it contains half of a surrogate pair"),
        ("/deploy", b"[1]", "the body: it must be a JSON object, got a list"),
        ("/deploy", b'{"workers": 1', "the body: it is not JSON: Expecting '"),
        ("/deploy", b'{"workers": 1', "at character 13"),
        ("/deploy", b'{"a": 1, "workers": 0}', " (1 more below)"),
        ("/deploy?wait=soon", b"", 'the query parameter wait: it must be a valid number, got "soon"'),
        ("/deploy?wiat=5", b"", "the query parameter 'wiat': the call takes wait; options belong in"),
        ("/deploy?workers=5", b"", "; options belong in a JSON body"),
        ("/deploy", b'{"workers": 1, "workers": 2}', "the key 'workers' occurs twice"),
        ("/deploy", b'{"workers": 1, "work\\u0065rs": 2}', "the key 'workers' occurs twice"),
        ("/outer", b'{"parts": [{"weight": 1}, {"weigth": 1}]}', "parts[1].weight in the body: it is"),
        ("/outer", b'{"parts": [{"weight": 1, "weigth": 1}]}', "did you mean weight?"),
        ("/outer", b'{"parts": [{"weight": 1, "weight": 2}]}', "the key 'weight' occurs twice"),
        ("/outer", b"{}", "parts in the body: it is missing"),
        ("/outer", b"", "the body: it is missing"),
        ("/outer", b'{"parts": {}}', "it must be a list, got an object"),
        ("/bodiless", b'{"limit": 5}', "this call takes no body; query parameters are limit"),
        ("/bodiless?limit=0", b"", 'parameter limit: it must be greater than or equal to 1, got "0"'),
    ],
)  # fmt: skip
async def test_validation_error_names_the_place_and_the_remedy(
    path: str, body: bytes, says: str
) -> None:
    assert says in (await problem(422, path, body))["detail"]


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ("null", "it is null. Leave the row out"),
        ("NaN", "it is not a finite number"),
        ("-Infinity", "it is not a finite number"),
        ("[1]", "got a list"),
        ('{"a": 1}', "got an object"),
        ("9223372036854775808", "more than 64 bits"),
        (json.dumps("x" * 1001), "at most 1000 characters, got 1001"),
        ('"\\ud800"', "half of a surrogate pair"),
    ],
)
async def test_label_of_another_type_is_one_error_with_a_remedy(label: str, says: str) -> None:
    items = (
        f'{{"items": [{{"request_id": "a", "label": 1}}, {{"request_id": "b", "label": {label}}}]}}'
    )
    found = await problem(422, "/feedback", items.encode())
    assert found["detail"].startswith("cannot use items[1].label in the body: ")
    assert says in found["detail"]
    assert len(found["errors"]) == found["error_count"] == 1


@pytest.mark.parametrize(
    "label", ["true", "0", "-9223372036854775808", "1.5", '"a"', '""', "1e308"]
)
async def test_label_keeps_its_type(label: str) -> None:
    body = f'{{"items": [{{"request_id": "a", "label": {label}}}]}}'.encode()
    answer = await ask("/feedback", body, content_type="application/json")
    [item] = answer.json()["items"]
    assert (type(item["label"]), item["label"]) == (type(json.loads(label)), json.loads(label))


async def test_validation_errors_are_all_counted_and_some_listed() -> None:
    items = [{"request_id": "a", "label": None}] * 700
    found = await problem(422, "/feedback", json.dumps({"items": items}).encode())
    assert (len(found["errors"]), found["error_count"]) == (20, 700)
    assert found["detail"].endswith("(699 more below)")


OPTIONS = b'{"capture_hash": ["age"]}'


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"content_type": ""}, "it has no Content-Type. Send JSON"),
        ({"content_type": "text/plain"}, "'text/plain'"),
        (
            {"content_type": "application/x-www-form-urlencoded"},
            "'application/x-www-form-urlencoded'",
        ),
        ({"content_type": "multipart/form-data; boundary=a"}, "'multipart/form-data; boundary=a'"),
        ({"content_type": "application/jsonl"}, "'application/jsonl'"),
        ({"content_encoding": "gzip"}, "compressed with 'gzip': send it without Content-Encoding"),
        ({"content_encoding": "br, zstd"}, "compressed with 'br, zstd'"),
    ],
)
async def test_body_of_another_type_is_refused(headers: dict[str, str], says: str) -> None:
    assert says in (await problem(415, "/deploy", OPTIONS, **headers))["detail"]


@pytest.mark.parametrize(
    ("body", "type"),
    [
        (OPTIONS, "application/json"),
        (OPTIONS, "Application/JSON; charset=utf-8"),
        (b"\xef\xbb\xbf" + OPTIONS, "application/json"),
        (OPTIONS.decode().encode("utf-16"), "application/json"),
    ],
)
async def test_body_of_json_in_any_unicode_encoding_is_read(body: bytes, type: str) -> None:
    answer = await ask("/deploy", body, content_type=type)
    assert answer.json()["capture_hash"] == ["age"]


async def test_body_in_latin_1_is_refused() -> None:
    body = '{"capture_hash": ["größe"]}'.encode("latin-1")
    assert "it is not UTF-8" in (await problem(422, "/deploy", body))["detail"]


async def test_body_announced_and_missing_is_refused() -> None:
    refused = await problem(400, "/deploy", transfer_encoding="chunked", content_type="")
    assert "Transfer-Encoding" in refused["detail"]
    assert (await ask("/deploy")).status_code == 200
    assert (await ask("/bodiless", transfer_encoding="chunked")).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{}", b" null\n"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_body_that_is_empty_is_accepted_everywhere(body: bytes, method: str) -> None:
    assert (await ask("/bodiless", body, method, **JSON)).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_body_of_a_call_without_body_is_refused(method: str) -> None:
    assert (await ask("/bodiless", b'{"a": 1}', method)).status_code == 422
