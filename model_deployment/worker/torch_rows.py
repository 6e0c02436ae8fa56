"""Whether a PyTorch network predicts each row by itself: its layers, and the operations of its forward().

The code of a network is not read: ``torch.fx`` runs it once with placeholders, and records what it does
with them. What fx cannot record, or what is not in the tables here, ends the search.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from typing import Any


def _always(layer: Any) -> bool:
    return True


def _has_statistics(layer: Any) -> bool:
    return layer.running_mean is not None  # else it takes those of the call


def _not_first(axis: Any) -> bool:
    """Whether an axis is another than the first one, whatever the number of axes."""
    return type(axis) is int and (axis >= 1 or axis == -1)


#: Layers of ``torch.nn`` that look at one row at a time in evaluation mode.
_SINGLE = frozenset({
    "Sequential", "Identity", "Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d",
    "ConvTranspose2d", "ConvTranspose3d", "MaxPool1d", "MaxPool2d", "MaxPool3d", "AvgPool1d",
    "AvgPool2d", "AvgPool3d", "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "LayerNorm", "GroupNorm", "RMSNorm",
    "ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish", "Sigmoid",
    "Tanh", "Softplus", "Softsign", "Hardtanh", "Hardswish", "Hardsigmoid", "LogSigmoid", "Threshold",
    "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout",
    "ZeroPad1d", "ZeroPad2d", "ZeroPad3d", "ReflectionPad1d", "ReflectionPad2d", "ReplicationPad1d",
    "ReplicationPad2d", "ConstantPad1d", "ConstantPad2d", "PixelShuffle", "PixelUnshuffle", "Upsample",
    "UpsamplingNearest2d", "UpsamplingBilinear2d", "Softmax2d", "LocalResponseNorm",
})  # fmt: skip
#: The same, and others that do so under a condition.
_LAYERS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(_SINGLE, _always),
    **dict.fromkeys(["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"], _has_statistics),
    **dict.fromkeys(["Softmax", "LogSoftmax", "Softmin"], lambda one: _not_first(one.dim)),
    "Flatten": lambda one: one.start_dim >= 1,
    "Unflatten": lambda one: type(one.dim) is int and one.dim >= 1,
    "Embedding": lambda one: one.max_norm is None,
    **dict.fromkeys(["RNN", "LSTM", "GRU"], lambda one: one.batch_first),
    "MultiheadAttention": lambda one: one.batch_first,
    "TransformerEncoderLayer": lambda one: one.self_attn.batch_first,
    **dict.fromkeys(
        ["TransformerEncoder", "ModuleList", "NonDynamicallyQuantizableLinear"], _always
    ),
}
#: Functions of ``torch`` and ``torch.nn.functional``, and methods of tensors, that look at each value, or
#: at what is in one row.
_BY_VALUE = frozenset({
    "relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "sigmoid", "tanh",
    "softplus", "hardtanh", "hardswish", "hardsigmoid", "logsigmoid", "abs", "neg", "exp", "log",
    "sqrt", "rsqrt", "sin", "cos", "erf", "clamp", "add", "sub", "mul", "div", "add_", "mul_", "float",
    "double", "to", "contiguous", "clone", "detach", "maximum", "minimum", "conv1d", "conv2d", "conv3d",
    "linear", "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "pad", "interpolate", "layer_norm", "group_norm",
})  # fmt: skip
#: Those that work along an axis: its place among the arguments, its name, and the axis if none is given.
_ALONG: dict[str, tuple[int, str, Any]] = {
    "softmax": (1, "dim", None), "log_softmax": (1, "dim", None), "cat": (1, "dim", 0),
    "concat": (1, "dim", 0), "mean": (1, "dim", None), "sum": (1, "dim", None), "amax": (1, "dim", None),
    "argmax": (1, "dim", None), "squeeze": (1, "dim", None), "unsqueeze": (1, "dim", None),
    "flatten": (1, "start_dim", 0), "chunk": (2, "dim", 0), "normalize": (2, "dim", 1),
    "select": (1, "dim", None),
}  # fmt: skip
_OPERATORS = frozenset(
    {
        operator.add,
        operator.sub,
        operator.mul,
        operator.truediv,
        operator.neg,
        operator.iadd,
        operator.imul,
    }
)


def find_problem(network: Any) -> str:
    """Why a network may not predict each row by itself, in a sentence; empty if it surely does."""
    import torch

    if not isinstance(network, torch.nn.Module):
        return f"it is a {_name(network)}, and no module of PyTorch"
    for layer in network.modules():
        if layer.training:
            return f"its {type(layer).__name__} is in training mode"
        if layer._forward_hooks or layer._forward_pre_hooks or "forward" in layer.__dict__:
            return f"its {type(layer).__name__} has hooks, which may do anything"
    try:
        graph = torch.fx.symbolic_trace(network).graph
    except Exception as error:  # whatever the code of a network does with a placeholder
        return f"what it does with its input cannot be followed: {type(error).__name__}: {error}"[
            :300
        ]
    for node in graph.nodes:
        if problem := _problem(network, node):
            return problem
    return ""


def _problem(network: Any, node: Any) -> str:
    if node.op in ("placeholder", "output", "get_attr"):
        return ""
    if node.op == "call_module":
        return _problem_of_layer(network.get_submodule(node.target))
    if node.op == "call_method":
        return _problem_of_call(str(node.target), node)
    if node.target in _OPERATORS:
        return _problem_of_sizes(node)
    if node.target is getattr and node.args[1:2] == ("shape",):
        return ""
    if node.target is operator.getitem:
        return _problem_of_item(network, node)
    name = _name_in_torch(node.target)
    if not name:
        called = str(getattr(node.target, "__name__", node.target))
        return f"it calls the function {called[:100]}, which may look at all rows"
    return _problem_of_call(name, node)


def _name_in_torch(function: Any) -> str:
    """The name of a function of PyTorch, which may call itself otherwise; empty for one from elsewhere."""
    import torch

    for module in (torch.nn.functional, torch):
        for name in (*_BY_VALUE, *_ALONG, "dropout", "permute", "transpose", "reshape"):
            if getattr(module, name, None) is function:
                return name
    own = str(getattr(function, "__module__", "")).partition(".")[0] == "torch"
    return str(getattr(function, "__name__", "")) if own else ""


def _problem_of_layer(layer: Any) -> str:
    kind = type(layer)
    when = _LAYERS.get(kind.__name__)
    found = getattr(sys.modules.get(kind.__module__), kind.__name__, None)
    if when is None or found is not kind or not kind.__module__.startswith("torch.nn.modules."):
        return f"its layer {_name(layer)} is not known to look at one row at a time"
    if not when(layer):
        return f"its layer {kind.__name__} works along the first axis, or on all rows of a call"
    return next(filter(None, map(_problem_of_layer, layer.children())), "")


def _problem_of_call(name: str, node: Any) -> str:
    name = name.strip("_") if name.endswith("_") and name.strip("_") in _BY_VALUE else name
    if name in _BY_VALUE or name in ("size", "dim"):
        return _problem_of_sizes(node)
    if name in ("view", "reshape"):
        # With -1 as the first size rows are cut in order; that each has a prediction is tried.
        first = node.args[1] if len(node.args) > 1 else None
        first = first[0] if isinstance(first, (tuple, list)) and first else first
        return "" if first == -1 or _is_number_of_rows(first) else f"its {name}() may mix rows"
    if name in ("permute", "transpose"):
        axes = node.args[1] if len(node.args) == 2 else node.args[1:]
        kept = [*axes][:1] == [0] if name == "permute" else all(map(_not_first, axes))
        return "" if kept else f"its {name}() moves the first axis"
    if name == "dropout":
        off = node.kwargs.get("training", node.args[2] if len(node.args) > 2 else True) is False
        return "" if off else "its dropout() is in training mode"
    if name in _ALONG:
        place, keyword, default = _ALONG[name]
        axes = node.args[place] if len(node.args) > place else node.kwargs.get(keyword, default)
        axes = axes if isinstance(axes, (tuple, list)) else [axes]
        return (
            ""
            if axes and all(map(_not_first, axes))
            else f"its {name}() works along the first axis"
        )
    return f"it calls {name[:100]}(), which is not known to look at one row at a time"


def _problem_of_item(network: Any, node: Any) -> str:
    """Of a tensor all rows must be taken; a shape has no rows, and a recurrent layer returns a pair."""
    source, place = node.args
    if type(place) is int:
        recurrent = source.op == "call_module" and place == 0 and _returns_several(network, source)
        known = recurrent or _is_shape(source) or source.target == "chunk"
        return "" if known else "it takes some rows of a tensor only"
    first = place[0] if isinstance(place, tuple) and place else place
    return "" if first == slice(None) else "it takes some rows of a tensor only"


def _returns_several(network: Any, node: Any) -> bool:
    """Whether a layer returns its output and something else, so that the first item is no row."""
    kind = type(network.get_submodule(node.target)).__name__
    return kind in ("RNN", "LSTM", "GRU", "MultiheadAttention")


def _problem_of_sizes(node: Any) -> str:
    """What is computed with the number of rows depends on them all."""
    sizes = [one for one in node.all_input_nodes if _is_shape(one) or _is_item_of_shape(one)]
    return "it computes with the sizes of its input" if sizes else ""


def _is_item_of_shape(node: Any) -> bool:
    return node.target is operator.getitem and _is_shape(node.args[0])


def _is_shape(node: Any) -> bool:
    return node.target == "size" or (node.target is getattr and node.args[1] == "shape")


def _is_number_of_rows(size: Any) -> bool:
    """Whether a size is recorded as that of the first axis: ``x.size(0)`` or ``x.shape[0]``."""
    target = getattr(size, "target", None)
    if target == "size":
        return bool(size.args[1:] == (0,))
    if target is operator.getitem:
        return _is_shape(size.args[0]) and size.args[1] == 0
    return False


def _name(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"[:100]
