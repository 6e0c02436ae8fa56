"""Whether an ONNX graph predicts each row by itself: the operators that it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
#: Operators that look at each value, or at what is in one row; their other inputs are weights.
_BY_VALUE = frozenset({
    "Identity", "Cast", "Dropout", "Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "Sigmoid",
    "HardSigmoid", "HardSwish", "Mish", "Tanh", "Softplus", "Softsign", "Erf", "Abs", "Neg", "Exp", "Log",
    "Sqrt", "Reciprocal", "Floor", "Ceil", "Sign", "Sin", "Cos", "Clip", "Add", "Sub", "Mul", "Div", "Pow",
    "Min", "Max", "Sum", "Mean", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or",
    "Not", "Where", "Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool",
    "GlobalMaxPool", "InstanceNormalization", "GroupNormalization", "LRN", "DepthToSpace", "SpaceToDepth",
    "Constant", "Scaler", "Normalizer", "Imputer", "LabelEncoder", "Binarizer", "ZipMap",
    "LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor", "TreeEnsembleClassifier",
    "TreeEnsembleRegressor", "TreeEnsemble", "OneHotEncoder", "FeatureVectorizer", "QuantizeLinear",
    "DequantizeLinear",
})  # fmt: skip


class _Graph:
    def __init__(self, graph: Any) -> None:
        from onnx import numpy_helper

        self._to_array = numpy_helper.to_array
        self._weights = {one.name: one for one in graph.initializer}
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value":
                    self._weights[node.output[0]] = attribute.t

    def is_weight(self, name: str) -> bool:
        return name in self._weights

    def numbers(self, name: str) -> list[Any] | None:
        """The values of a weight of few whole numbers; None for what is computed."""
        weight = self._weights.get(name)
        return None if weight is None else [*map(int, self._to_array(weight).ravel()[:64])]


def find_problem(session: Any) -> str:
    """Why the graph of a session may not predict each row by itself, in a sentence; empty if it does."""
    import onnx

    path = getattr(session, "_model_path", None)
    if not path:
        return "its graph cannot be read again"
    graph = onnx.load(str(path), load_external_data=False).graph
    known = _Graph(graph)
    for node in graph.node:
        if problem := _problem(node, known):
            return problem
    return ""


def _problem(node: Any, graph: _Graph) -> str:
    import onnx

    operator = str(node.op_type)
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    if node.domain in _DOMAINS and operator in _BY_VALUE:
        return ""
    holds = _CONDITIONS.get(operator) if node.domain in _DOMAINS else None
    if holds is None:
        return f"its operator {operator[:100]} is not known to look at one row at a time"
    inputs = [*node.input]
    return (
        "" if holds(inputs, attributes, graph) else f"its operator {operator} may look at all rows"
    )


Condition = Callable[[list[str], Mapping[str, Any], _Graph], bool]


def _not_first(axis: Any) -> bool:
    return type(axis) is int and (axis >= 1 or axis == -1)


def _along(default: int) -> Condition:
    """Works along one axis, given as an attribute."""
    return lambda inputs, attributes, graph: _not_first(attributes.get("axis", default))


def _reduces(inputs: list[str], attributes: Mapping[str, Any], graph: _Graph) -> bool:
    """Works along several axes, given as an attribute or, since opset 13, as an input."""
    axes = attributes.get("axes")
    if axes is None and len(inputs) > 1:
        axes = graph.numbers(inputs[1])
    return bool(axes) and all(map(_not_first, axes or ()))


def _reshapes(inputs: list[str], attributes: Mapping[str, Any], graph: _Graph) -> bool:
    """Keeps the first axis, or cuts rows in order, where a trial shows that each has a prediction."""
    shape = graph.numbers(inputs[1]) if len(inputs) > 1 else None
    return (
        bool(shape)
        and shape is not None
        and shape[0] in (0, -1)
        and not attributes.get("allowzero")
    )


def _multiplies(inputs: list[str], attributes: Mapping[str, Any], graph: _Graph) -> bool:
    """Multiplies each row by weights."""
    return not attributes.get("transA") and graph.is_weight(inputs[1])


def _gathers(inputs: list[str], attributes: Mapping[str, Any], graph: _Graph) -> bool:
    """Looks up rows of weights, as an embedding; or takes some of what is in each row."""
    axis = attributes.get("axis", 0)
    return graph.is_weight(inputs[0]) if axis == 0 else _not_first(axis)


_CONDITIONS: dict[str, Condition] = {
    **dict.fromkeys(["Softmax", "LogSoftmax", "LayerNormalization"], _along(-1)),
    **dict.fromkeys(["Concat", "ArgMax", "ArgMin"], _along(0)),
    **dict.fromkeys(["Flatten", "ArrayFeatureExtractor"], _along(1)),
    **dict.fromkeys(
        [
            "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd", "Squeeze",
            "Unsqueeze",
        ],
        _reduces,
    ),
    **dict.fromkeys(["Gemm", "MatMul"], _multiplies),
    "Reshape": _reshapes,
    "Gather": _gathers,
    "Transpose": lambda inputs, attributes, graph: [*attributes.get("perm", [1])][:1] == [0],
    "BatchNormalization": lambda inputs, attributes, graph: not attributes.get("training_mode"),
}  # fmt: skip
