"""Which models are taken for ones that predict each row by itself, and whether they do."""

import copy
import functools
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from model_deployment.worker.model_parts import find_problem, judge
from tests.support.cases import each

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sklearn import (
        base,
        compose,
        decomposition,
        dummy,
        ensemble,
        feature_extraction,
        impute,
        linear_model,
        model_selection,
        neighbors,
        pipeline,
        preprocessing,
        svm,
    )
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.utils import all_estimators

    ESTIMATORS = all_estimators()
    REGRESSORS = all_estimators("regressor")

pytestmark = pytest.mark.filterwarnings("ignore")

METHODS = ("predict", "predict_proba", "predict_log_proba", "transform")
#: Whose iterations are trees, and do not have to converge.
TREES = ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor
#: Estimators that take another one, several, or a grid.
_INNER = linear_model.Ridge(), linear_model.LogisticRegression()


def made(name: str, kind: type[Any]) -> Any:
    """An estimator, with an inner one where it needs one."""
    plain, classifier = _INNER
    inner = classifier if issubclass(kind, base.ClassifierMixin) else plain
    named = [("one", inner), ("two", base.clone(inner))]
    special: dict[str, Callable[[], Any]] = {
        "ClassifierChain": lambda: kind(classifier),
        "ColumnTransformer": lambda: kind([("scale", preprocessing.StandardScaler(), [0, 1])]),
        "FeatureUnion": lambda: kind([("scale", preprocessing.StandardScaler())]),
        "GaussianRandomProjection": lambda: kind(n_components=2),
        "GridSearchCV": lambda: kind(plain, {"alpha": [0.1, 1.0]}),
        "LocalOutlierFactor": lambda: kind(novelty=True),
        "Pipeline": lambda: kind([("scale", preprocessing.StandardScaler()), ("model", plain)]),
        "RandomizedSearchCV": lambda: kind(plain, {"alpha": [0.1, 1.0]}, n_iter=2),
        "SparseRandomProjection": lambda: kind(n_components=2),
        "StackingClassifier": lambda: kind(named),
        "StackingRegressor": lambda: kind(named),
        "VotingClassifier": lambda: kind(named),
        "VotingRegressor": lambda: kind(named),
    }
    if name in special:
        return special[name]()
    try:
        return kind()
    except TypeError:
        return kind(inner)


@functools.cache
def made_and_fitted(name: str) -> Any:
    """An estimator that is fitted, if it takes any of our data."""
    kind = dict(ESTIMATORS)[name]
    model = made(name, kind)
    # A hundred trees are made as three are, and take thirty times as long.
    few = {"n_estimators": 3, "max_iter": 3} if issubclass(kind, TREES) else {"n_estimators": 3}
    if few := {key: few[key] for key in few.keys() & model.get_params(deep=False).keys()}:
        model.set_params(**few)
    return fitted(model)


def fitted(model: Any) -> Any:
    """The same, fitted to some data that it takes; None if it takes none of ours."""
    draw = np.random.default_rng(0)
    rows = np.abs(draw.normal(size=(60, 4)))
    classes = (rows[:, 0] + draw.normal(size=60) / 5 > 0.7).astype(int)
    numbers = rows @ [1.0, 2.0, -1.0, 0.5] + 5
    for targets in (classes, numbers, np.column_stack([classes, 1 - classes]), None):
        for given in (rows, rows[:, :1].ravel()):
            try:
                return model.fit(given, targets) if targets is not None else model.fit(given)
            except Exception:
                continue
    return None


@each("name, kind", ESTIMATORS)
def test_what_is_accepted_predicts_each_row_by_itself(name: str, kind: type[Any]) -> None:
    if not any(hasattr(kind, method) for method in METHODS):
        return
    model = made_and_fitted(name)
    if model is None or find_problem(model):
        return
    draw = np.random.default_rng(1)
    rows = np.abs(draw.normal(size=(20, 4)))
    for method in METHODS:
        call = getattr(model, method, None)
        if call is None:
            continue
        try:
            together = dense(call(rows))
        except Exception:
            continue
        alone = np.concatenate([dense(call(rows[place : place + 1])) for place in range(len(rows))])
        largest = np.abs(together[np.isfinite(together)]).max(initial=0.0)
        np.testing.assert_allclose(together, alone, rtol=1e-9, atol=1e-9 * largest)


def dense(found: Any) -> np.ndarray[Any, Any]:
    found = found[0] if isinstance(found, list) else found
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found, dtype=float)


def test_most_of_scikit_learn_is_accepted() -> None:
    accepted = [
        name
        for name, kind in REGRESSORS
        if (model := made_and_fitted(name)) is not None and not find_problem(model)
    ]
    assert len(accepted) > 0.8 * len(REGRESSORS)


class OwnScaler(preprocessing.StandardScaler):
    """A class of one's own, as harmless as it may look."""


class Impostor:
    """Says that it is scikit-learn's."""


Impostor.__module__, Impostor.__qualname__ = "sklearn.linear_model._base", "LinearRegression"


def centred(rows: Any) -> Any:
    return rows - rows.mean(axis=0)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (OwnScaler(), "OwnScaler, whose code is not known"),
        (pipeline.make_pipeline(OwnScaler(), linear_model.Ridge()), "OwnScaler"),
        (Impostor(), "not the one of that name that is installed"),
        (preprocessing.FunctionTransformer(centred), "FunctionTransformer calls a function"),
        (preprocessing.FunctionTransformer(np.log1p), "FunctionTransformer calls a function"),
        (neighbors.KNeighborsRegressor(metric=centred), "calls the function centred"),
        (neighbors.KNeighborsRegressor(weights=np.log1p), "calls the function"),
        (svm.SVC(kernel=lambda one, other: one @ other.T), "calls the function"),
        (feature_extraction.text.TfidfVectorizer(tokenizer=str.split), "calls the function"),
        (
            compose.ColumnTransformer([("f", preprocessing.FunctionTransformer(centred), [0])]),
            "FunctionTransformer",
        ),
        (
            compose.TransformedTargetRegressor(
                linear_model.Ridge(), func=np.log, inverse_func=np.exp
            ),
            "calls the function",
        ),
        (model_selection.GridSearchCV(OwnScaler(), {}), "OwnScaler"),
        (ensemble.VotingRegressor([("own", OwnScaler())]), "OwnScaler"),
        (dummy.DummyClassifier(strategy="stratified"), "draws its predictions at random"),
        (dummy.DummyClassifier(strategy="uniform", random_state=0), "draws its predictions"),
        (impute.IterativeImputer(sample_posterior=True), "draws values at random"),
        (decomposition.NMF(), "error over all rows"),
    ],
)
def test_what_may_look_at_all_rows_is_not_accepted(model: Any, why: str) -> None:
    assert why in find_problem(model)


@pytest.mark.parametrize(
    "model",
    [
        preprocessing.FunctionTransformer(),
        compose.TransformedTargetRegressor(linear_model.Ridge()),
        compose.ColumnTransformer(
            [("scale", preprocessing.StandardScaler(), [0])], remainder="passthrough"
        ).set_output(transform="pandas"),
        model_selection.GridSearchCV(
            linear_model.Ridge(), {"alpha": [1.0]}, scoring=lambda model, rows, targets: 0.0, cv=2
        ),
        dummy.DummyClassifier(strategy="prior"),
        pipeline.make_pipeline(
            preprocessing.OneHotEncoder(handle_unknown="ignore"),
            ensemble.GradientBoostingRegressor(n_estimators=3),
        ),
    ],
)
def test_harmless_settings_are_accepted(model: Any) -> None:
    assert find_problem(model) == ""
    assert find_problem(copy.deepcopy(fitted(model))) == ""


def test_a_model_of_parts_that_refer_to_each_other_is_looked_at_once() -> None:
    model = linear_model.Ridge()
    model.itself = [model, {"again": model}]
    assert find_problem(model) == ""


def loaded(
    model: Any, loader: str = "mlflow.sklearn", wrapper: str = "mlflow.sklearn", **pyfunc: Any
) -> Any:
    """As ``mlflow.pyfunc.load_model`` returns one, as far as it is looked at."""
    kind = type("_SklearnModelWrapper", (), {"get_raw_model": lambda self: model})
    kind.__module__ = wrapper
    flavors = {"python_function": {"loader_module": loader, **pyfunc}, "sklearn": {}}
    return SimpleNamespace(metadata=SimpleNamespace(flavors=flavors), _model_impl=kind())


def test_a_loaded_model_is_judged_by_its_flavor_and_its_parts() -> None:
    assert judge(loaded(linear_model.Ridge())).row_wise
    assert not judge(loaded(OwnScaler())).row_wise
    assert not judge(loaded(linear_model.Ridge(), loader="mlflow.pyfunc.model")).row_wise
    assert not judge(loaded(linear_model.Ridge(), wrapper="elsewhere")).row_wise
    assert not judge(loaded(linear_model.Ridge(), code="code")).row_wise
