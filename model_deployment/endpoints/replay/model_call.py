"""One call of a model server for a check or a replay: it is neither captured nor counted as served."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from model_deployment.core.answer_shape import unwrapped
from model_deployment.core.domain import Address
from model_deployment.gate import (
    CheckResult,
    Gate,
    MalformedJson,
    ViolationKind,
    dumps,
    dumps_nan,
    loads,
)
from model_deployment.http.model_session import model_session

#: Bytes of an answer that are read at most.
_LONGEST = 64 * 1024 * 1024
#: From here on a float is not a whole number exactly.
_EXACT = 2**53


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What a model server answered."""

    #: Empty if it answered as it should; else the HTTP status as a proxy would count it, or ``no_json``.
    failure: str
    #: One for each row, if the model makes them so; NaN and infinities are None.
    predictions: Any = None
    latency_ms: float = 0.0


def check_captured(gate: Gate, body: Any) -> tuple[Any, CheckResult]:
    """The body of a captured request in a form that a gate accepts, if there is one, and what it says.

    A capture does not tell whether 3 or 3.0 was sent to a column of floats, and columns of whole numbers
    take only the first.
    """
    result = gate.check(body)
    if any(one.kind is ViolationKind.LOSSY for one in result.violations) and result.refused:
        whole = _whole(body)
        again = gate.check(whole)
        if not again.refused:
            return whole, again
    return body, result


def _whole(value: Any) -> Any:
    """JSON whose floats are written as whole numbers where they are."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    return value


def content(gate: Gate, body: Any, result: CheckResult) -> bytes:
    """The bytes of a checked body as a proxy sends them."""
    write = dumps_nan if gate.writes_nan else dumps
    return write(body if result.payload is None else result.payload)


async def call(
    session: aiohttp.ClientSession, address: Address, sent: bytes, timeout: float
) -> ModelAnswer:
    """Ask a model server for predictions. It never raises for what the model server does.

    Args:
        session: keeps the connections to servers that listen on ports.
        timeout: seconds the answer may take.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(timeout):
            if address.path:
                async with model_session(address, timeout) as own:
                    status, found = await _post(own, address, sent)
            else:
                status, found = await _post(session, address, sent)
    except TimeoutError:
        return ModelAnswer("504", latency_ms=1000 * (loop.time() - began))
    except (aiohttp.ClientError, OSError):
        return ModelAnswer("502", latency_ms=1000 * (loop.time() - began))
    latency = 1000 * (loop.time() - began)
    if status != 200:
        return ModelAnswer(str(status), latency_ms=latency)
    try:
        return ModelAnswer("", _predictions(found), latency)
    except ValueError:
        return ModelAnswer("no_json", latency_ms=latency)


async def _post(session: aiohttp.ClientSession, address: Address, sent: bytes) -> tuple[int, bytes]:
    """Status and body of an answer."""
    async with session.post(
        f"{address.url}/invocations",
        data=sent,
        headers={"content-type": "application/json"},
        allow_redirects=False,
    ) as answer:
        found = bytearray()
        async for part in answer.content.iter_any():
            found += part
            if len(found) > _LONGEST:
                break  # cut off, so it is no JSON
        return answer.status, bytes(found)


def _predictions(answer: bytes) -> Any:
    """As a capture has them.

    Raises:
        ValueError: the answer is no JSON.
    """
    try:
        found = loads(answer)
    except MalformedJson:  # infinities, which a proxy makes null of as well
        found = json.loads(answer, parse_constant=lambda name: None)
    return unwrapped(found)
