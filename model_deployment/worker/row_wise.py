"""Kinds of models that predict each row by itself, by construction: merging requests changes no prediction.

Pure, and standard library only: the controller reads it as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Where a worker answers what it found out about its model, as JSON.
PATH = "/row-independence"


@dataclass(frozen=True)
class Flavor:
    """A flavor of MLflow whose models predict row by row."""

    #: Its member of ``flavors`` in the ``MLmodel`` file.
    name: str
    #: Why a prediction depends on one row.
    reason: str
    #: The package whose own classes predict so.
    package: str
    #: The members that name the class of the model in the ``MLmodel`` file. None: the file does not say of
    #: which classes the model is made.
    class_members: tuple[str, ...] | None = None
    #: The classes are named without their module.
    bare_names: bool = False


#: By the module that loads the model for ``mlflow.pyfunc``. All others may hold any code.
FLAVORS: Mapping[str, Flavor] = {
    "mlflow.sklearn": Flavor(
        "sklearn", "scikit-learn's own classes apply to each row what they learned in fit()", "sklearn"
    ),
    "mlflow.xgboost": Flavor(
        "xgboost", "XGBoost sums the leaves, or weights, that a row reaches", "xgboost", ("model_class",)
    ),
    "mlflow.lightgbm": Flavor(
        "lightgbm", "LightGBM sums the leaves that a row reaches", "lightgbm", ("model_class",)
    ),
    "mlflow.catboost": Flavor(
        "catboost", "CatBoost sums the leaves that a row reaches", "catboost", ("model_type",), True
    ),
}  # fmt: skip

#: Networks, whose layers and operations are looked at one by one.
NETWORKS: Mapping[str, Flavor] = {
    "mlflow.pytorch": Flavor(
        "pytorch", "its layers and operations look at one row at a time", "torch"
    ),
    "mlflow.keras": Flavor("keras", "its layers look at one row at a time", "keras"),
    "mlflow.tensorflow": Flavor("tensorflow", "its layers look at one row at a time", "keras"),
    "mlflow.onnx": Flavor("onnx", "its operations look at one row at a time", "onnx"),
}

#: Methods that predict. Of others, ``score`` and ``fit_predict`` look at all rows.
_METHODS = frozenset({"predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba"})


@dataclass(frozen=True)
class Verdict:
    """Whether a model predicts row by row by construction, and why."""

    row_wise: bool
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return {"row_wise": self.row_wise, "reason": self.reason}

    @classmethod
    def from_dict(cls, value: Any) -> Verdict | None:
        """The inverse; None if the value is something else."""
        if not isinstance(value, dict) or value.keys() != {"row_wise", "reason"}:
            return None
        row_wise, reason = value["row_wise"], value["reason"]
        well_formed = type(row_wise) is bool and type(reason) is str
        return cls(row_wise, reason[:500]) if well_formed else None


def flavor_of(flavors: Any) -> Flavor | str:
    """The flavor of a model that predicts row by row, or why the model is none.

    Args:
        flavors: the member of the same name of an ``MLmodel`` file.
    """
    pyfunc = _member(flavors, "python_function")
    if pyfunc is None:
        return "its MLmodel file has no python_function flavor"
    loader = str(pyfunc.get("loader_module"))
    flavor = FLAVORS.get(loader) or NETWORKS.get(loader)
    if flavor is None or _member(flavors, flavor.name) is None:
        custom = loader.startswith("mlflow.pyfunc")
        what = "a custom Python model" if custom else f"loaded by {loader[:100]}"
        return f"it is {what}, whose prediction of a row may depend on other rows"
    if pyfunc.get("code"):
        return "it brings code of its own (code_paths), which may do anything"
    method = str(pyfunc.get("predict_fn") or "predict")
    if method not in _METHODS:
        return f"its predictions come from {method[:100]}(), which may look at all rows"
    return flavor


def judge_file(flavors: Any) -> Verdict:
    """What the ``MLmodel`` file tells, where nobody can look into the loaded model."""
    flavor = flavor_of(flavors)
    if isinstance(flavor, str):
        return Verdict(False, flavor)
    if flavor.class_members is None:
        return Verdict(
            False,
            f"its MLmodel file does not say of which classes the {flavor.name} model is made, and only a "
            "model server with start_method forkserver can look",
        )
    own = _member(flavors, flavor.name) or {}
    named = [str(own[name]) for name in flavor.class_members if name in own]
    prefix = "CatBoost" if flavor.bare_names else f"{flavor.package}."
    if not named or not all(name.startswith(prefix) for name in named):
        shown = (named or ["unknown"])[0][:100]
        return Verdict(False, f"its class is {shown}, which is not one of {flavor.package}'s own")
    return Verdict(True, flavor.reason)


def _member(flavors: Any, name: str) -> Mapping[str, Any] | None:
    member = flavors.get(name) if isinstance(flavors, Mapping) else None
    return member if isinstance(member, Mapping) else None
