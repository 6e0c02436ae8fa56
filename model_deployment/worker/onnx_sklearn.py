"""Converts models of scikit-learn to ONNX, with skl2onnx, and says what the inputs take."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from model_deployment.worker.onnx_inputs import FLOATS, INTEGERS, FormInput, NoForm

#: Input types by MLflow's types of columns. All others have none.
_COLUMN_TYPES = {
    "double": "float64", "float": "float32", "long": "int64", "integer": "int32", "boolean": "bool",
    "string": "string",
}  # fmt: skip
#: The only input, where columns are stacked or there is a tensor.
_ONLY = "input"


def possible_inputs(schema: Any) -> Iterator[list[FormInput]]:
    """The ways to give the inputs of a signature to an ONNX form, the most exact first.

    Columns of numbers only are stacked, as scikit-learn does with a data frame. Steps that choose columns
    by name need one input for each column.

    Args:
        schema: MLflow's ``Schema``, or None.

    Raises:
        NoForm: ONNX has no type for an input.
    """
    if schema is None or not schema.inputs:
        raise NoForm("the model has no signature")
    if schema.is_tensor_spec():
        yield from _tensors(schema.inputs)
        return
    columns = [(_name(one), _type(one)) for one in schema.inputs]
    names, types = tuple(name for name, _ in columns), [type for _, type in columns]
    if all(type in (*FLOATS, *INTEGERS) for type in types):
        yield from ([FormInput(_ONLY, names, type)] for type in reversed(FLOATS))
        if all(type in INTEGERS for type in types):
            yield [FormInput(_ONLY, names, "int64")]
    elif len(set(types)) == 1:
        yield [FormInput(_ONLY, names, types[0])]
    yield _one_each(columns)
    numbers = dict.fromkeys((*FLOATS, *INTEGERS), "float32")
    if any(type in numbers for type in types):
        # Steps that put several columns into one tensor need one type, and trees need this one.
        yield _one_each([(name, numbers.get(type, type)) for name, type in columns])


def _one_each(columns: Sequence[tuple[str, str]]) -> list[FormInput]:
    return [FormInput(name, (name,), type) for name, type in columns]


def _tensors(specs: Sequence[Any]) -> Iterator[list[FormInput]]:
    if len(specs) > 1:
        raise NoForm("the model takes several tensors")
    type = "string" if specs[0].type.kind in "UO" else specs[0].type.name
    if type not in _COLUMN_TYPES.values():
        raise NoForm(f"the model takes a tensor of {type}")
    for one in dict.fromkeys((type, *(["float32"] if type == "float64" else []))):
        yield [FormInput(_ONLY, None, one)]


def convert(
    estimator: Any, inputs: Sequence[FormInput], shape: Sequence[int | None] | None
) -> tuple[Any, list[FormInput]]:
    """The ONNX model of an estimator, and its inputs as they are called there.

    Args:
        shape: of the tensor that it takes, without rows; None: it takes columns.

    Raises:
        Exception: skl2onnx cannot convert it, or not with these inputs.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common import data_types

    kinds = {
        "float32": data_types.FloatTensorType, "float64": data_types.DoubleTensorType,
        "int32": data_types.Int32TensorType, "int64": data_types.Int64TensorType,
        "bool": data_types.BooleanTensorType, "string": data_types.StringTensorType,
    }  # fmt: skip
    initial = []
    for one in inputs:
        sizes = shape or () if one.columns is None else [len(one.columns)]
        initial.append((one.name, kinds[one.type]([None, *sizes])))
    # Without ZipMap probabilities are a tensor. A fixed name, so that each conversion has the same bytes.
    options = {id(estimator): {"zipmap": False}} if _is_classifier(estimator) else None
    made = convert_sklearn(estimator, "model", initial, options=options)
    names = [one.name for one in made.graph.input]  # without spaces and the like
    if len({*names}) != len(inputs):
        raise NoForm("the names of its columns are too alike")
    return made, [replace(one, name=name) for one, name in zip(inputs, names, strict=True)]


def output_names(model: Any, method: str) -> list[str]:
    """The outputs of a converted model, first the one that the method of the model predicts.

    Raises:
        NoForm: it has no such output.
    """
    names = [one.name for one in model.graph.output]
    match method:
        case "predict":
            return names
        case "predict_proba" if len(names) == 2:
            return names[::-1]
    raise NoForm(f"its predictions come from {method[:60]}(), which has no output in ONNX")


def make_flat(model: Any, output: str) -> str:
    """Make an output of shape (rows, 1) one of shape (rows), as the model predicts; returns its name."""
    import numpy as np
    from onnx import helper, numpy_helper

    shape = numpy_helper.from_array(np.array([-1], np.int64), f"{output}_shape")
    model.graph.initializer.append(shape)
    found = next(one for one in model.graph.output if one.name == output)
    node = helper.make_node("Reshape", [output, shape.name], [f"{output}_rows"])
    return _behind(model, node, found.type.tensor_type.elem_type)


def make_truths(model: Any, output: str) -> str:
    """Make an output of labels 0 and 1, of shape (rows), one of truths; returns its name."""
    from onnx import TensorProto, helper

    node = helper.make_node("Cast", [output], [f"{output}_truths"], to=TensorProto.BOOL)
    return _behind(model, node, TensorProto.BOOL)


def _behind(model: Any, node: Any, element: int) -> str:
    """Put a node behind an output, whose place its output takes, with one value for each row."""
    from onnx import helper

    old, new = node.input[0], str(node.output[0])
    node.name = new
    model.graph.node.append(node)
    found = next(one for one in model.graph.output if one.name == old)
    found.CopyFrom(helper.make_tensor_value_info(new, element, [None]))
    return new


def _is_classifier(estimator: Any) -> bool:
    from sklearn.base import is_classifier

    return bool(is_classifier(estimator))


def _name(column: Any) -> str:
    if column.name is None:
        raise NoForm("its signature has columns without names")
    return str(column.name)


def _type(column: Any) -> str:
    kind = str(getattr(column.type, "name", type(column.type).__name__)).lower()
    if kind not in _COLUMN_TYPES:
        raise NoForm(f"ONNX has no type for the column {str(column.name)[:60]!a}, which is {kind}")
    return _COLUMN_TYPES[kind]
