"""What the ``MLmodel`` file alone tells of a model's row independence."""

from typing import Any

import pytest

from model_deployment.worker.row_wise import FLAVORS, Flavor, Verdict, flavor_of, judge_file

XGBOOST = {"model_class": "xgboost.sklearn.XGBRegressor"}


def flavors(name: str, own: Any = None, **pyfunc: Any) -> dict[str, Any]:
    return {
        "python_function": {"loader_module": f"mlflow.{name}", **pyfunc},
        name: {} if own is None else own,
    }


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("xgboost", XGBOOST),
        ("xgboost", {"model_class": "xgboost.core.Booster"}),
        ("lightgbm", {"model_class": "lightgbm.basic.Booster"}),
        ("catboost", {"model_type": "CatBoostClassifier"}),
    ],
)
def test_trees_are_known_by_their_class(name: str, own: Any) -> None:
    verdict = judge_file(flavors(name, own))
    assert verdict == Verdict(True, FLAVORS[f"mlflow.{name}"].reason)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (None, "no python_function flavor"),
        ([], "no python_function flavor"),
        ({"python_function": "x"}, "no python_function flavor"),
        ({"python_function": {"loader_module": "mlflow.pyfunc.model"}}, "a custom Python model"),
        ({"python_function": {"loader_module": "mlflow.xgboost"}}, "loaded by mlflow.xgboost"),
        (
            {"python_function": {"loader_module": "own.loader"}, "sklearn": {}},
            "loaded by own.loader",
        ),
        (flavors("spacy"), "loaded by mlflow.spacy"),
        *(
            (flavors(name), f"does not say of which classes the {name} model is made")
            for name in ("pytorch", "keras", "tensorflow", "onnx")
        ),
        (flavors("xgboost", XGBOOST, code="code"), "code of its own (code_paths)"),
        (flavors("sklearn", predict_fn="score"), "come from score()"),
        (flavors("sklearn", predict_fn="fit_predict"), "come from fit_predict()"),
        (flavors("sklearn"), "does not say of which classes the sklearn model is made"),
        (flavors("xgboost", {"model_class": "own.Booster"}), "its class is own.Booster"),
        (flavors("xgboost", {}), "its class is unknown"),
        (flavors("catboost", {"model_type": "Own"}), "its class is Own"),
    ],
)
def test_what_the_file_does_not_vouch_for_is_not_merged(found: Any, why: str) -> None:
    verdict = judge_file(found)
    assert not verdict.row_wise
    assert why in verdict.reason


@pytest.mark.parametrize("method", [None, "predict", "predict_proba", "predict_log_proba"])
def test_methods_that_predict_are_accepted(method: str | None) -> None:
    assert isinstance(flavor_of(flavors("sklearn", predict_fn=method)), Flavor)


def test_a_verdict_is_read_back() -> None:
    verdict = Verdict(True, "it is")
    assert Verdict.from_dict(verdict.as_dict()) == verdict


@pytest.mark.parametrize(
    "value",
    [None, [], "x", {}, {"row_wise": True}, {"row_wise": 1, "reason": "x"},
     {"row_wise": True, "reason": None}, {"row_wise": True, "reason": "x", "more": 1}],
)  # fmt: skip
def test_what_another_server_answers_is_no_verdict(value: Any) -> None:
    assert Verdict.from_dict(value) is None
