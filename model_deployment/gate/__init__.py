"""The check of a request against the model's signature: pure, compiled once, then microseconds."""

from model_deployment.gate.gate import Gate
from model_deployment.gate.strict_json import MalformedJson, dumps, loads
from model_deployment.gate.verdict import Kind, Table, Verdict, Violation
from model_deployment.options import Validation

__all__ = [
    "Gate",
    "Kind",
    "MalformedJson",
    "Table",
    "Validation",
    "Verdict",
    "Violation",
    "dumps",
    "loads",
]
