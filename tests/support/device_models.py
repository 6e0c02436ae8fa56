"""Real MLflow models of the kinds that are released to devices, saved in folders.

Run as a program, ``python -m tests.support.device_models FOLDER [NAME ...]``, it saves them all, or those
named.
"""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# MLflow and scikit-learn are imported by the functions: they cost seconds, and warn when imported.

CODE = Path(__file__).with_name("model_code")
#: MLflow finds out by itself what a model needs, which takes ten seconds.
NO_REQUIREMENTS = ["mlflow"]


def _numbers(rows: int = 60) -> Any:
    import numpy as np
    import pandas as pd

    draw = np.random.default_rng(7)
    return pd.DataFrame({name: draw.normal(size=rows) for name in ("bmi", "blood pressure", "s1")})


def _mixed(rows: int = 60) -> Any:
    import numpy as np

    frame, draw = _numbers(rows), np.random.default_rng(8)
    frame["place"] = draw.choice(["hall", "yard", "röm"], rows)
    frame["count"] = draw.integers(0, 9, rows)
    return frame


def _save(folder: Path, model: Any, train: Any, **more: Any) -> None:
    import mlflow.sklearn

    example = more.pop("input_example", None)
    if example is None and not more.pop("no_example", False):
        example = train.head(4) if hasattr(train, "head") else train[:4]
    mlflow.sklearn.save_model(
        model, folder, serialization_format="cloudpickle", input_example=example,
        pip_requirements=NO_REQUIREMENTS, **more,
    )  # fmt: skip


def _ridge(folder: Path) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train = _numbers()
    target = train["bmi"] * 30 + train["s1"] * 7 + 150
    _save(folder, make_pipeline(StandardScaler(), Ridge()).fit(train, target), train)


def _numbered(folder: Path) -> None:
    from sklearn.linear_model import Ridge

    train = _numbers().set_axis(range(3), axis=1)
    _save(folder, Ridge().fit(train, train[0] * 9), train)


def _mixed_forest(folder: Path) -> None:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    train = _mixed()
    choose = ColumnTransformer([
        ("numbers", StandardScaler(), ["blood pressure", "bmi", "count"]),
        ("place", OneHotEncoder(handle_unknown="ignore"), ["place"]),
    ])  # fmt: skip
    forest = RandomForestRegressor(n_estimators=10, random_state=0)
    target = train["bmi"] * 30 + (train["place"] == "hall") * 20
    _save(folder, make_pipeline(choose, forest).fit(train, target), train)


def _boosted(folder: Path) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    train = _numbers()
    _save(folder, HistGradientBoostingRegressor(max_iter=5).fit(train, train["bmi"]), train)


def _labels(folder: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    train = _numbers()
    labels = (train["bmi"] > 0).map({True: "high", False: "low"})
    _save(folder, LogisticRegression().fit(train, labels), train)


def _probabilities(folder: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    train = _numbers()
    forest = RandomForestClassifier(n_estimators=5, random_state=0).fit(train, train["bmi"] > 0)
    _save(folder, forest, train, pyfunc_predict_fn="predict_proba")


def _truths(folder: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    train = _numbers()
    _save(folder, LogisticRegression().fit(train, train["bmi"] > 0), train)


def _log_probabilities(folder: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    train = _numbers()
    model = LogisticRegression().fit(train, (train["bmi"] > 0).astype(int))
    _save(folder, model, train, pyfunc_predict_fn="predict_log_proba")


def _tensor(folder: Path) -> None:
    from sklearn.linear_model import LinearRegression

    train = _numbers().to_numpy()
    _save(folder, LinearRegression().fit(train, train[:, :2] * 3), train)


def _integers(folder: Path) -> None:
    from sklearn.linear_model import LinearRegression

    train = _mixed()[["count"]].assign(other=range(60))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow: integers may be missing later
        _save(folder, LinearRegression().fit(train, train["count"] * 2 + 1), train)


def _gaps(folder: Path) -> None:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    train = _numbers()
    train.loc[[0, 2], "bmi"] = float("nan")
    _save(folder, make_pipeline(SimpleImputer(), Ridge()).fit(train, train["s1"] * 50), train)


def _text_gaps(folder: Path) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    train = _mixed()[["place"]].astype(object)
    train.loc[1, "place"] = None
    encode = OneHotEncoder(handle_unknown="ignore")
    _save(folder, make_pipeline(encode, Ridge()).fit(train, range(60)), train)


def _no_example(folder: Path) -> None:
    from mlflow.models import infer_signature
    from sklearn.linear_model import LinearRegression

    train = _numbers()
    signature = infer_signature(train, train["bmi"])
    model = LinearRegression().fit(train, train["bmi"])
    _save(folder, model, train, no_example=True, signature=signature)


def _own_onnx(folder: Path) -> None:
    _save_onnx(folder, _numbers().astype("float32").head(4))


def _own_onnx_tensor(folder: Path) -> None:
    _save_onnx(folder, _numbers().astype("float32").head(4).to_numpy())


def _save_onnx(folder: Path, example: Any) -> None:
    import mlflow.onnx
    from mlflow.models import infer_signature
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.linear_model import LinearRegression

    train = _numbers().astype("float32").to_numpy()
    made = convert_sklearn(
        LinearRegression().fit(train, train[:, 0] * 4),
        "model",
        [("input", FloatTensorType([None, 3]))],
    )
    mlflow.onnx.save_model(
        made, folder, input_example=example, signature=infer_signature(example),
        save_as_external_data=False, pip_requirements=NO_REQUIREMENTS,
    )  # fmt: skip


def _python(folder: Path) -> None:
    import mlflow.pyfunc

    mlflow.pyfunc.save_model(
        folder, python_model=str(CODE / "ranking.py"), input_example=_numbers().head(3)[["bmi"]]
        .rename(columns={"bmi": "value"}), pip_requirements=NO_REQUIREMENTS,
    )  # fmt: skip


def _params(folder: Path) -> None:
    import mlflow.pyfunc

    mlflow.pyfunc.save_model(
        folder, python_model=str(CODE / "ranking.py"), pip_requirements=NO_REQUIREMENTS,
        input_example=(_numbers().head(3)[["bmi"]].rename(columns={"bmi": "value"}), {"heat": 0.5}),
    )  # fmt: skip


def _times(folder: Path) -> None:
    import pandas as pd
    from sklearn.dummy import DummyRegressor

    train = _numbers().assign(at=pd.Timestamp("2026-01-31"))
    _save(folder, DummyRegressor().fit(train, train["bmi"]), train)


def _difficult(does: str) -> Callable[[Path], None]:
    """A model whose code does something when it predicts, but not yet when it is saved."""

    def save(folder: Path) -> None:
        import json

        import mlflow.pyfunc
        import pandas as pd
        from mlflow.models import infer_signature

        example = pd.DataFrame({"value": [1.0]})
        mlflow.pyfunc.save_model(
            folder, python_model=str(CODE / f"{does}.py"), pip_requirements=NO_REQUIREMENTS,
            signature=infer_signature(example, [1.0]),
        )  # fmt: skip
        # MLflow tries a model when it saves an example of it.
        split = {"dataframe_split": {"columns": ["value"], "data": [[1.0]]}}
        (folder / "serving_input_example.json").write_text(json.dumps(split))

    return save


#: By name.
MODELS: dict[str, Callable[[Path], None]] = {
    "ridge": _ridge,
    "numbered": _numbered,
    "mixed forest": _mixed_forest,
    "boosted": _boosted,
    "labels": _labels,
    "probabilities": _probabilities,
    "truths": _truths,
    "log probabilities": _log_probabilities,
    "tensor": _tensor,
    "integers": _integers,
    "gaps": _gaps,
    "text gaps": _text_gaps,
    "no example": _no_example,
    "own onnx": _own_onnx,
    "own onnx tensor": _own_onnx_tensor,
    "python": _python,
    "params": _params,
    "times": _times,
    "fails": _difficult("failing"),
    "greedy": _difficult("greedy"),
    "writer": _difficult("writing"),
}


def save_all(folder: Path, names: list[str]) -> None:
    """Save models, each in a folder of its name."""
    import mlflow

    mlflow.set_tracking_uri("none://nothing-is-logged")
    for name in names or MODELS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            MODELS[name](folder / name)


if __name__ == "__main__":
    save_all(Path(sys.argv[1]), sys.argv[2:])
