"""The member ``stream``: an order beside the data, for models that can stream."""

from typing import Any

import pytest

from model_deployment.core.options import Validation
from model_deployment.core.signature import Signature
from model_deployment.gate import Gate
from tests.support.gates import MAPPING, column, gate

SPEC = [column("string", "text")]


def streaming(*specs: dict[str, Any]) -> Gate:
    return Gate(
        Signature([*specs], None, None) if specs else None,
        MAPPING,
        Validation.STRICT,
        streams=True,
    )


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        ({"text": "a"}, {"dataframe_records": [{"text": "a"}]}),
        ({"dataframe_records": [{"text": "a"}]}, {"dataframe_records": [{"text": "a"}]}),
    ],
)
def test_it_passes_beside_the_data_and_no_such_request_is_merged(body: Any, payload: Any) -> None:
    gated = streaming(*SPEC)
    result = gated.check(body | {"stream": True})
    assert (result.refused, result.payload, result.table) == (
        False, payload | {"stream": True}, None,
    )  # fmt: skip
    plain = gated.check(body | {"stream": False})
    assert (plain.refused, plain.payload) == (False, payload)


def test_it_is_checked_as_ever_where_the_data_are_wrong_or_the_model_cannot_stream() -> None:
    assert streaming(*SPEC).check({"text": 5, "stream": True}).refused
    assert gate(*SPEC).check({"text": "a", "stream": True}).refused


def test_a_column_of_that_name_is_a_column() -> None:
    own = streaming(column("boolean", "stream"))
    assert own.check({"stream": True}).payload == {"dataframe_records": [{"stream": True}]}


@pytest.mark.parametrize("stream", [True, False])
def test_a_chat_keeps_it_where_it_is_wanted(stream: bool) -> None:
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    result = streaming().check(chat | {"stream": stream})
    assert result.payload == (chat | {"stream": True} if stream else chat)
