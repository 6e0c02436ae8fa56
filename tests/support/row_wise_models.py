"""Real MLflow models that predict each row by itself, and others that only seem to.

Run as a program, ``row_wise_models.py TRACKING_URI ARTIFACT_ROOT``, it registers them.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

#: Libraries of further flavors; a model of each is registered where the library is installed.
LIBRARIES = ("xgboost", "lightgbm", "catboost")
COLUMNS = ("a", "b", "c")


def installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def data() -> tuple[Any, Any]:
    """Inputs and targets."""
    import numpy as np
    import pandas as pd

    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.normal(size=(80, len(COLUMNS))), columns=COLUMNS)
    return frame, frame @ [1.0, -2.0, 0.5] + draw.normal(size=len(frame)) / 10


def scikit_learn_models() -> dict[str, Any]:
    """By name."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler, minmax_scale

    scaled = ColumnTransformer([("scale", StandardScaler(), ["a"])], remainder="passthrough")
    # Of scikit-learn's own parts, and yet it scales each row by the others.
    disguised = LinearRegression()
    disguised.predict = minmax_scale
    return {
        "pipeline": make_pipeline(scaled, RandomForestRegressor(20, random_state=0)),
        "without-example": LinearRegression(),
        "function": make_pipeline(FunctionTransformer(_centred), LinearRegression()),
        "disguised": disguised,
    }


def _centred(rows: Any) -> Any:
    return rows - rows.mean(axis=0)


def register_all(tracking_uri: str, artifact_root: Path) -> None:
    """Register them in a fresh registry."""
    import mlflow
    from mlflow import MlflowClient
    from mlflow.models import infer_signature

    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    client = MlflowClient(tracking_uri, tracking_uri)
    experiment_id = client.create_experiment("row-wise", artifact_root.absolute().as_uri())
    inputs, targets = data()
    signature = infer_signature(inputs, targets.to_numpy())

    def log(log_model: Any, name: str, model: Any, **more: Any) -> None:
        example = None if name == "without-example" else inputs.head(3)
        with mlflow.start_run(experiment_id=experiment_id):
            log_model(
                model,
                name=name,
                signature=signature,
                input_example=example,
                pip_requirements=[],
                registered_model_name=name,
                **more,
            )

    for name, model in scikit_learn_models().items():
        log(
            mlflow.sklearn.log_model,
            name,
            model.fit(inputs, targets),
            serialization_format="cloudpickle",
        )
    # Through MLflow's wrapper for code of one's own, whatever it holds.
    wrapped = scikit_learn_models()["pipeline"].fit(inputs, targets)

    class Wrapped(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return wrapped.predict(model_input)

    with mlflow.start_run(experiment_id=experiment_id):
        mlflow.pyfunc.log_model(
            name="custom",
            python_model=Wrapped(),
            signature=signature,
            input_example=inputs.head(3),
            pip_requirements=[],
            registered_model_name="custom",
        )
    if installed("xgboost"):
        xgboost = importlib.import_module("xgboost")
        log(
            mlflow.xgboost.log_model,
            "xgboost",
            xgboost.XGBRegressor(n_estimators=5).fit(inputs, targets),
        )
    if installed("lightgbm"):
        lightgbm = importlib.import_module("lightgbm")
        trees = lightgbm.train({"verbosity": -1}, lightgbm.Dataset(inputs, targets), 5)
        log(mlflow.lightgbm.log_model, "lightgbm", trees)
    if installed("catboost"):
        catboost = importlib.import_module("catboost")
        quiet = catboost.CatBoostRegressor(iterations=5, verbose=False, allow_writing_files=False)
        log(mlflow.catboost.log_model, "catboost", quiet.fit(inputs, targets))
    register_tensor_models(experiment_id)


def _linear_network(weights: Any) -> Any:
    """Of images: probabilities and labels, as an ONNX graph."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["image", "shape"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["p"]),
            helper.make_node("ArgMax", ["p"], ["label"], axis=1, keepdims=0),
        ],
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 2, 2, 3))],
        [
            helper.make_tensor_value_info("p", TensorProto.FLOAT, ("n", 4)),
            helper.make_tensor_value_info("label", TensorProto.INT64, ("n",)),
        ],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array([0, -1]), "shape"),
        ],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    network.ir_version = 9
    return network


def register_tensor_models(experiment_id: str) -> None:
    """Networks of one layer: as an ONNX graph, as code, and as code that looks at the whole batch."""
    import mlflow
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    weights = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
    single = np.dtype("float32")
    images = ModelSignature(Schema([TensorSpec(single, (-1, 2, 2, 3))]))
    windows = ModelSignature(
        Schema([TensorSpec(single, (-1, -1, 12), "x"), TensorSpec(np.dtype("int64"), (-1,), "k")])
    )
    rows = np.random.default_rng(1).random((6, 12)).astype("float32")

    class Windows(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            if (model_input["k"] < 0).any():
                raise ValueError("a row that the model cannot predict")
            last = model_input["x"][:, -1] @ weights
            return {
                "score": last * model_input["k"][:, None],
                "steps": model_input["x"].sum((1, 2)),
            }

    class OverTheBatch(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            scores = np.exp(model_input.reshape(len(model_input), -1) @ weights)
            return scores / scores.sum(axis=0)

    def log(log_model: Any, name: str, signature: Any, example: Any, **model: Any) -> None:
        with mlflow.start_run(experiment_id=experiment_id):
            log_model(
                name=name,
                signature=signature,
                input_example=example,
                pip_requirements=[],
                registered_model_name=name,
                **model,
            )

    square = rows.reshape(6, 2, 2, 3)
    log(mlflow.onnx.log_model, "images", images, square, onnx_model=_linear_network(weights))
    log(mlflow.pyfunc.log_model, "batch-softmax", images, square, python_model=OverTheBatch())
    example = {"x": np.stack([rows, rows[::-1]], axis=1), "k": np.arange(6)}
    log(mlflow.pyfunc.log_model, "windows", windows, example, python_model=Windows())


if __name__ == "__main__":
    register_all(sys.argv[1], Path(sys.argv[2]))
