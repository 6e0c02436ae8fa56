"""What MLflow says of input that does not fit a type hint: the caller's fault, told without his data.

The words are MLflow's own, of the release that is installed.
"""

import datetime
import json
from collections.abc import Callable
from typing import Any, Optional

import pydantic
import pytest

from model_deployment.core.errors import InvalidRequest, ModelFailed
from model_deployment.core.names import ModelKey
from model_deployment.proxy.answers import UpstreamAnswer, answer_error
from model_deployment.proxy.type_hint_errors import type_hint_error
from model_deployment.worker.failure_header import CHECK, FAULT, is_a_bug_of_a_check

pytestmark = pytest.mark.filterwarnings("ignore")  # importing MLflow warns

KEY = ModelKey("typed", 1)
CANARY = "CANARY-91c"


class Street(pydantic.BaseModel):
    name: str
    number: int


class Customer(pydantic.BaseModel):
    name: str
    age: int
    mail: Optional[str] = None  # noqa: UP045 - as users write it
    home: Street | None = None
    code: str = "x"

    @pydantic.field_validator("code")
    @classmethod
    def known(cls, code: str) -> str:
        if code == "bug":
            raise KeyError(CANARY)
        if code != "x":
            raise ValueError("codes are x")
        return code


@pytest.fixture(autouse=True)
def serving(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.environment_variables import _MLFLOW_IS_IN_SERVING_ENVIRONMENT

    monkeypatch.setenv(_MLFLOW_IS_IN_SERVING_ENVIRONMENT.name, "true")


def customers(model_input: list[Customer]) -> list[str]:
    from mlflow.exceptions import MlflowException

    raise MlflowException.invalid_parameter_value(f"cannot reach the table {CANARY}")


def texts(model_input: list[str]) -> list[str]:
    return []


def numbers(model_input: list[dict[str, int]]) -> list[str]:
    return []


def lists(model_input: list[list[float]]) -> list[str]:
    return []


def moments(model_input: list[datetime.datetime]) -> list[str]:
    return []


def packed(model_input: list[bytes]) -> list[str]:
    return []


def answer(function: Callable[..., Any], data: Any) -> tuple[UpstreamAnswer, Any]:
    """As MLflow's server answers, and the exception."""
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.utils.data_validation import pyfunc

    with pytest.raises(MlflowException) as raised:
        pyfunc(function)(data)
    error = raised.value
    error.message = f"Failed to predict data '{data}'. \nError: {error.message}"
    content = error.serialize_as_json().encode()
    return UpstreamAnswer(error.get_http_status_code(), [], content), error


PERSON = {"name": CANARY, "age": 3}


@pytest.mark.parametrize(
    ("function", "data", "reason"),
    [
        (customers, [{"name": CANARY}], "list[Customer]: age: Field required"),
        (
            customers,
            [PERSON, {"age": CANARY}],
            "name: Field required; age: Input should be a valid",
        ),
        (customers, [PERSON | {"age": CANARY}], "age: Input should be a valid integer"),
        (customers, [PERSON | {"age": None}], "age: Input should be a valid integer"),
        (customers, [PERSON | {"home": {"name": CANARY}}], "home.number: Field required"),
        (customers, [PERSON | {"mail": 5}], "mail: Input should be a valid string"),
        (customers, [PERSON | {"code": CANARY}], "code: Value error, codes are x"),
        (customers, [{"name": "'. \nError: " + CANARY}], "age: Field required"),
        (customers, [{"name": "a\n  b [type=" + CANARY}], "age: Field required"),
        (customers, [CANARY], "got str"),
        (customers, {"name": CANARY}, "Expected list, but got dict"),
        (customers, CANARY, "Expected list, but got str"),
        (customers, None, "Expected list, but got NoneType"),
        (texts, [CANARY, 1], "list[str]: Expected type str, but got int"),
        (texts, [None], "Expected type str, but got NoneType"),
        (texts, 5, "Expected list, but got int"),
        (numbers, [{"a": CANARY}], "list[dict[str, int]]: Expected type int, but got str"),
        (numbers, [CANARY], "Expected dict, but got str"),
        (lists, [[1.5], [CANARY]], "list[list[float]]: Expected type float, but got str"),
        (lists, [1.5], "Expected list, but got float"),
        (moments, ["soon"], "Invalid isoformat string: 'soon'"),
        (moments, [5], "Expected type datetime, but got int"),
        (packed, ["a"], "Invalid base64-encoded string"),
        (customers, [{"name": CANARY * 100}] * 2000, "age: Field required"),
    ],
)
def test_what_does_not_fit_a_type_hint_is_the_caller_s_fault(
    function: Callable[..., Any], data: Any, reason: str
) -> None:
    found, error = answer(function, data)
    refused = answer_error(KEY, found)
    assert type(refused.error) is InvalidRequest
    assert reason in refused.error.detail
    assert refused.error.detail.startswith("cannot predict with typed-1: the input does not fit ")
    assert CANARY not in refused.error.detail
    assert refused.error.detail.isprintable()
    assert len(refused.error.detail) < 700
    assert refused.internals == ""
    assert not is_a_bug_of_a_check(error, error.message)


def test_an_exception_of_the_model_s_own_code_is_not() -> None:
    found, error = answer(customers, [PERSON])
    refused = answer_error(KEY, found)
    assert type(refused.error) is ModelFailed
    assert CANARY not in refused.error.detail
    assert CANARY in refused.internals
    assert not is_a_bug_of_a_check(error, error.message)


def test_a_validator_that_fails_itself_is_told_from_one_that_refuses() -> None:
    found, error = answer(customers, [PERSON | {"code": "bug"}])
    assert is_a_bug_of_a_check(error, error.message)
    told = UpstreamAnswer(found.status, [(FAULT, CHECK)], found.content)
    assert type(answer_error(KEY, told).error) is ModelFailed


@pytest.mark.parametrize(
    "said",
    [
        "",
        "cannot reach the table",
        "Expected list, but got nothing at all",
        "I Expected list, but got dict",
        "Model says: Failed to validate data against type hint `list[str]`",
        "Model returned an invalid response. Expected a ChatAgentResponse object or dictionary with the "
        "same schema. Pydantic validation error: 1 validation error",
    ],
)
def test_a_model_s_own_words_are_not_taken_for_mlflow_s(said: str) -> None:
    assert type_hint_error(said) is None


def test_a_chat_agent_s_input_is_checked_by_mlflow() -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.utils.data_validation import wrap_non_list_predict_pydantic
    from mlflow.types.agent import ChatAgentRequest

    said = "Invalid dictionary input for a ChatAgent. Expected a dictionary with the schema."
    predict = wrap_non_list_predict_pydantic(lambda self, **more: None, ChatAgentRequest, said)
    with pytest.raises(MlflowException) as raised:
        predict(None, {"messages": [{"content": CANARY}]})
    reason = type_hint_error(raised.value.message)
    assert reason is not None
    assert "messages.0.role: Field required" in reason
    assert CANARY not in reason


def test_the_text_of_an_answer_takes_no_time_that_grows_with_its_square() -> None:
    text = "Failed to validate data against type hint `list[A]`, invalid elements: "
    for tail in ("\n" * 200_000, "\na\n  b" * 50_000, "\\n" * 100_000, "Expected type " * 20_000):
        content = json.dumps(
            {"message": f"Failed to predict data ''. \nError: {text}{tail}"}
        ).encode()
        assert answer_error(KEY, UpstreamAnswer(400, [], content)).error.status == 422


def test_a_frame_without_text_does_not_fit_a_list_of_texts() -> None:
    import pandas as pd
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import PythonModel
    from mlflow.pyfunc.model import _PythonModelPyfuncWrapper

    class Texts(PythonModel):
        def predict(self, context: Any, model_input: list[str]) -> list[str]:
            return model_input

    model = _PythonModelPyfuncWrapper(Texts(), None, None)
    with pytest.raises(MlflowException) as raised:
        model._convert_input(pd.DataFrame({"a": [1, 2]}))
    reason = type_hint_error(raised.value.message)
    assert reason is not None
    assert reason.endswith("Expected model input to contain at least one string column")
