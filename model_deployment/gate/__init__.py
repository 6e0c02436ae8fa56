"""The check of a request against the model's signature: pure, compiled once, then microseconds."""

from model_deployment.core.options import Validation
from model_deployment.gate.csv_body import MalformedText
from model_deployment.gate.examples import fitting
from model_deployment.gate.gate import Gate
from model_deployment.gate.strict_json import (
    MalformedJson,
    dumps,
    dumps_nan,
    has_nan,
    loads,
    loads_nan,
)
from model_deployment.gate.verdict import Kind, Table, Verdict, Violation

__all__ = [
    "Gate",
    "Kind",
    "MalformedJson",
    "MalformedText",
    "Table",
    "Validation",
    "Verdict",
    "Violation",
    "dumps",
    "dumps_nan",
    "fitting",
    "has_nan",
    "loads",
    "loads_nan",
]
