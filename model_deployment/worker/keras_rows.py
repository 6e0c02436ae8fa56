"""Whether a Keras network predicts each row by itself: the layers that it is made of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any


def _always(layer: Any) -> bool:
    return True


def _not_first(axis: Any) -> bool:
    axes = axis if isinstance(axis, (list, tuple)) else [axis]
    return all(type(one) is int and (one >= 1 or one == -1) for one in axes)


#: Keras' own layers that look at one row at a time when they predict, and when.
_LAYERS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys([
        "InputLayer", "Dense", "EinsumDense", "Embedding", "Conv1D", "Conv2D", "Conv3D", "SeparableConv1D",
        "SeparableConv2D", "DepthwiseConv1D", "DepthwiseConv2D", "Conv1DTranspose", "Conv2DTranspose",
        "Conv3DTranspose", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "AveragePooling1D",
        "AveragePooling2D", "AveragePooling3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
        "GlobalMaxPooling3D", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D",
        "BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization",
        "RMSNormalization", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
        "GaussianDropout", "GaussianNoise", "AlphaDropout", "Flatten", "Reshape", "Permute", "RepeatVector",
        "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Cropping1D", "Cropping2D", "Cropping3D",
        "UpSampling1D", "UpSampling2D", "UpSampling3D", "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU",
        "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Rescaling", "Normalization",
        "Resizing", "CenterCrop", "Masking", "MultiHeadAttention", "LSTMCell", "GRUCell", "SimpleRNNCell",
        "Sequential", "Functional", "TimeDistributed", "Bidirectional",
    ], _always),
    **dict.fromkeys(["LSTM", "GRU", "SimpleRNN", "RNN"], lambda one: not one.stateful),
    **dict.fromkeys(["Concatenate", "Softmax"], lambda one: _not_first(one.axis)),
}  # fmt: skip


def find_problem(network: Any) -> str:
    """Why a network may not predict each row by itself, in a sentence; empty if it surely does."""
    seen: set[int] = set()
    parts = [network]
    while parts:
        part = parts.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if problem := _problem(part):
            return problem
        parts.extend(_inner(part))
    return ""


def _problem(layer: Any) -> str:
    kind = type(layer)
    name = f"{kind.__module__}.{kind.__qualname__}"[:100]
    when = _LAYERS.get(kind.__name__)
    found = getattr(sys.modules.get(kind.__module__), kind.__name__, None)
    if when is None or found is not kind or kind.__module__.partition(".")[0] != "keras":
        return f"its layer {name} is not known to look at one row at a time"
    if not when(layer):
        return f"its {kind.__name__} works along the first axis, or keeps a state between calls"
    for member in ("activation", "recurrent_activation"):
        function = getattr(layer, member, None)
        if function is not None and _package(function) != "keras":
            return (
                f"its {kind.__name__} has an activation from elsewhere, which may look at all rows"
            )
    for node in getattr(layer, "_inbound_nodes", ()):
        if node.arguments.kwargs.get("training"):
            return f"its {kind.__name__} is in training mode"
    return ""


def _inner(layer: Any) -> Iterator[Any]:
    # Operations of keras.ops in a functional network are no layers, but are parts of it.
    yield from getattr(layer, "operations", ())
    functional = getattr(layer, "_functional", None)
    if functional is not None:
        yield functional
    yield from getattr(layer, "_layers", ())


def _package(thing: Any) -> str:
    own = thing if hasattr(thing, "__qualname__") else type(thing)
    return str(own.__module__).partition(".")[0]
