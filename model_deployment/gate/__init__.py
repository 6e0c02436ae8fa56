"""Checks requests against the model's signature. Pure: compiled once per deployment, then microseconds.

Start with ``gate.Gate``. It takes the body apart (``body_forms``, ``csv_body``), aligns its data with the
signature (``column_schema``, ``tensor_schema``, ``param_schema``) and applies a rule to each column.
"""

from model_deployment.core.options import Validation
from model_deployment.gate.check_result import CheckResult, Violation, ViolationKind
from model_deployment.gate.csv_body import MalformedText
from model_deployment.gate.examples import fitting
from model_deployment.gate.mergeable import (
    Mergeable,
    MergeableTable,
    MergeableTensors,
    TensorKind,
)
from model_deployment.gate.request_check import Gate
from model_deployment.gate.strict_json import (
    MalformedJson,
    dumps,
    dumps_nan,
    has_nan,
    loads,
    loads_nan,
    skeleton,
)

__all__ = [
    "CheckResult",
    "Gate",
    "MalformedJson",
    "MalformedText",
    "Mergeable",
    "MergeableTable",
    "MergeableTensors",
    "TensorKind",
    "Validation",
    "Violation",
    "ViolationKind",
    "dumps",
    "dumps_nan",
    "fitting",
    "has_nan",
    "loads",
    "loads_nan",
    "skeleton",
]
