"""Versions as checks and replay need them, made of a signature in few words."""

import json
from typing import Any

from model_deployment.core.domain import Address
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options, Validation
from model_deployment.core.signature import Signature
from model_deployment.endpoints.replay.examined_version import ExaminedVersion
from model_deployment.endpoints.replay.request_forms import RequestForms
from model_deployment.gate import Gate
from model_deployment.recording.capture import document, encode
from model_deployment.tabular.input_columns import ModelInputs
from tests.support.gates import MAPPING, Spec


def version(
    *inputs: Spec,
    number: int = 1,
    hinted: bool = False,
    options: Options | None = None,
    example: Any = None,
    address: Address | None = None,
) -> ExaminedVersion:
    """A version of the model m."""
    signature = Signature([*inputs], None, None, hinted) if inputs else None
    options = options or Options()
    return ExaminedVersion(
        ModelKey("m", number),
        Gate(signature, MAPPING, options.validation),
        Gate(signature, MAPPING, Validation.COERCE),
        ModelInputs(inputs),
        RequestForms(inputs, hinted=hinted),
        example,
        options,
        address,
    )


def captured(
    one: ExaminedVersion,
    body: bytes | Any,
    predictions: Any = (1,),
    *,
    id: str = "r",
    at: float = 1_700_000_000.0,
    media_type: str = "application/json",
    latency: float = 2.0,
) -> dict[str, Any]:
    """The document of a request to a version, made as the drain makes it."""
    head = {
        "model": one.key.model, "version": one.key.version, "launch_id": "l", "at": at,
        "request_id": id, "latency_ms": latency, "media_type": media_type, "artifact": "a",
        "exclude": one.options.capture_exclude, "hash": one.options.capture_hash,
    }  # fmt: skip
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = json.dumps({"predictions": predictions}).encode()
    payload = b"".join(encode(head, content, answer))
    most = one.options.max_capture_bytes
    return document(f"{one.key}/{id}", payload, most, b"salt", lambda artifact: one.inputs)
