"""Tries a model on its example, and makes its ONNX form: ``python -m model_deployment.worker.onnx_form``.

It runs the code of a model, so it is a program of its own, with limits, for one model. It reads a task from
its standard input, as ``runtime/model_trial.py`` writes it, and writes into the folder ``out``:
``answer.json``, then ``form.json`` and perhaps ``model.onnx``. What it cannot do is said there, in words.
"""

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from model_deployment.worker import limits, onnx_sklearn
from model_deployment.worker.onnx_compare import TOLERANCE, largest_difference, without_nan
from model_deployment.worker.onnx_inputs import FormInput, NoForm, feeds
from model_deployment.worker.preload import ENVIRONMENT

#: Names of what it writes.
ANSWER, FORM, MODEL = "answer.json", "form.json", "model.onnx"
#: Exit status when the disk is full (EX_TEMPFAIL of sysexits.h).
DISK_FULL = 75
_NO_LIBRARIES = (
    "the controller has not {}, which 'pip install model-deployment[onnx]' installs; set the model again "
    "after that"
)
#: Characters of the words of a library.
_MOST_WORDS = 300
#: Exceptions of a chain that are looked at.
_MOST_LINKS = 20


def run(folder: Path, out: Path) -> None:
    """Try the model, then convert it.

    Args:
        folder: of the model, with its ``MLmodel``; code in it runs.
    """
    request: dict[str, Any] | None = None
    answer: dict[str, Any] = {"example": None, "predictions": None}
    try:
        model = _load(folder)
        name = _example_name(model, folder)
        answer["example"] = name
        request = json.loads((folder / name).read_bytes())
        answer["predictions"] = _predictions(model, (folder / name).read_bytes())
    except NoForm as error:
        answer["why_not"] = str(error)
    except Exception as error:
        if _of_the_machine(error):
            raise
        answer["why_not"] = f"the model cannot answer its example here: {_words(error)}"
    _write(out / ANSWER, {**answer, "tolerance": TOLERANCE})
    if request is None or "why_not" in answer:
        _write(out / FORM, {"why_not": answer["why_not"]})
        return
    try:
        form = _form(model, request, answer["predictions"], folder, out)
    except NoForm as error:
        (out / MODEL).unlink(missing_ok=True)
        form = {"why_not": str(error)}
    _write(out / FORM, form)


def _load(folder: Path) -> Any:
    from mlflow.environment_variables import _MLFLOW_IS_IN_SERVING_ENVIRONMENT
    from mlflow.pyfunc import scoring_server

    os.environ[_MLFLOW_IS_IN_SERVING_ENVIRONMENT.name] = "true"
    return scoring_server.load_model_with_mlflow_config(str(folder))


def _example_name(model: Any, folder: Path) -> str:
    info = model.metadata.saved_input_example_info or {}
    # The model chooses the name, so only the last part of it is used.
    name = Path(str(info.get("serving_input_path", "serving_input_example.json"))).name
    if not (folder / name).is_file():
        raise NoForm("the model has no input example, so nothing shows that both answer alike")
    return name


def _predictions(model: Any, request: bytes) -> Any:
    """What the model answers by MLflow's scoring protocol; what is no number is null."""
    from mlflow.pyfunc.scoring_server import invocations

    found = invocations(request, "application/json", model, model.metadata.get_input_schema())
    if found.status != 200:
        raise ValueError(found.response)
    answer = json.loads(found.response)
    wrapped = isinstance(answer, dict) and answer.keys() == {"predictions"}
    return without_nan(answer["predictions"] if wrapped else answer)


def _form(
    model: Any, request: Mapping[str, Any], expected: Any, folder: Path, out: Path
) -> dict[str, Any]:
    """Write the ONNX form, and describe it.

    Raises:
        NoForm: there is none.
    """
    flavors = model.metadata.flavors
    pyfunc = flavors.get("python_function", {})
    if model.metadata.get_params_schema() is not None or "params" in request:
        raise NoForm("the model takes params, which an ONNX form does not")
    match str(pyfunc.get("loader_module")):
        case "mlflow.onnx":
            _import("onnx", "onnxruntime")
            # The model chooses the name, so only the last part of it is used.
            path = folder / Path(str(flavors["onnx"]["data"])).name
            return _own_form(model, request, expected, path, out)
        case "mlflow.sklearn":
            _import("skl2onnx", "onnx", "onnxruntime")
            method = str(pyfunc.get("predict_fn") or "predict")
            return _converted(model, method, request, expected, out)
        case other if other.startswith("mlflow.pyfunc."):
            raise NoForm("it is a Python model, whose code cannot be converted")
        case other:
            raise NoForm(f"models that {other[:60]} loads cannot be converted")


def _converted(
    model: Any, method: str, request: Mapping[str, Any], expected: Any, out: Path
) -> dict[str, Any]:
    """The form of a scikit-learn model: the first way to give it its inputs that answers alike."""
    schema = model.metadata.get_input_schema()
    estimator = model.get_raw_model()
    shape = schema.inputs[0].shape[1:] if schema and schema.is_tensor_spec() else None
    shape = None if shape is None else [size if size > 0 else None for size in shape]
    why: list[str] = []
    for possible in onnx_sklearn.possible_inputs(schema):
        try:
            made, inputs = onnx_sklearn.convert(estimator, possible, shape)
            outputs = onnx_sklearn.output_names(made, method)
            answer = _run(made.SerializeToString(), request, inputs, outputs)
            if change := _change(answer, expected):
                outputs[0] = change(made, outputs[0])
                answer = _run(made.SerializeToString(), request, inputs, outputs)
            difference = largest_difference(answer, expected)
        except NoForm as error:
            why.append(str(error))
        except Exception as error:
            if _of_the_machine(error):
                raise
            why.append(f"it cannot be converted: {_words(error)}")
        else:
            (out / MODEL).write_bytes(made.SerializeToString())
            return _described(inputs, outputs, difference)
    # That answers differ says more than that one way of several cannot be converted.
    raise NoForm(next((one for one in why if not one.startswith("it cannot")), why[0]))


def _own_form(
    model: Any, request: Mapping[str, Any], expected: Any, path: Path, out: Path
) -> dict[str, Any]:
    """The form of a model that is ONNX itself: its own file, or one of all its files."""
    import onnx

    made = onnx.load(str(path), load_external_data=False)
    if any(one.data_location == onnx.TensorProto.EXTERNAL for one in made.graph.initializer):
        try:
            made = onnx.load(str(path))
            (out / MODEL).write_bytes(made.SerializeToString())
        except ValueError as error:
            raise NoForm("its tensors do not fit into one file, which has 2 GiB at most") from error
    else:
        shutil.copyfile(path, out / MODEL)
    inputs = _own_inputs(made, model.metadata.get_input_schema())
    outputs = [one.name for one in made.graph.output]
    try:
        answer = _run(str(out / MODEL), request, inputs, outputs)
    except NoForm:
        raise
    except Exception as error:
        if _of_the_machine(error):
            raise
        raise NoForm(f"it cannot be run with its example: {_words(error)}") from error
    # MLflow answers with all outputs by name, and with those of a data frame flat.
    difference = largest_difference(_flat(answer), _flat(_first_output(expected, outputs[0])))
    return {**_described(inputs, outputs, difference), "answer": answer}


def _own_inputs(made: Any, schema: Any) -> list[FormInput]:
    from onnx import TensorProto

    types = {
        TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64", TensorProto.INT32: "int32",
        TensorProto.INT64: "int64", TensorProto.BOOL: "bool", TensorProto.STRING: "string",
    }  # fmt: skip
    constants = {one.name for one in made.graph.initializer}
    taken = [one for one in made.graph.input if one.name not in constants]
    by_column = schema is not None and not schema.is_tensor_spec()
    columns = tuple(str(one.name) for one in schema.inputs) if by_column else ()
    inputs = []
    for one in taken:
        type = types.get(one.type.tensor_type.elem_type)
        if type is None:
            raise NoForm(f"its input {one.name[:60]!a} has a type that devices do not make")
        own = columns if len(taken) == 1 else (one.name,)
        inputs.append(FormInput(one.name, own if by_column else None, type))
    return inputs


def _run(
    model: bytes | str, request: Mapping[str, Any], inputs: Sequence[FormInput], outputs: list[str]
) -> Any:
    """The first output for the example."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found = session.run([outputs[0]], feeds(request, inputs))[0]
    return without_nan(found.tolist() if hasattr(found, "tolist") else found)


def _described(
    inputs: Sequence[FormInput], outputs: Sequence[str], difference: float
) -> dict[str, Any]:
    return {
        "inputs": [one.as_dict() for one in inputs],
        "outputs": [*outputs],
        "max_difference": difference,
    }


def _change(answer: Any, expected: Any) -> Callable[[Any, str], str] | None:
    """What gives the prediction of the ONNX model the form of that of the model itself."""
    if not (isinstance(answer, list) and isinstance(expected, list) and answer and expected):
        return None
    if isinstance(answer[0], list) and len(answer[0]) == 1 and not isinstance(expected[0], list):
        return onnx_sklearn.make_flat
    if isinstance(expected[0], bool) and type(answer[0]) is int:
        return onnx_sklearn.make_truths
    return None


def _first_output(answer: Any, name: str) -> Any:
    """The values of an output of several by name, or of a row's."""
    if isinstance(answer, dict):
        return answer.get(name)
    if isinstance(answer, list) and all(isinstance(row, dict) for row in answer):
        return [row.get(name) for row in answer]
    return answer


def _flat(value: Any) -> list[Any]:
    if not isinstance(value, list):
        return [value]
    return [inner for one in value for inner in _flat(one)]


def _import(*names: str) -> None:
    for name in names:
        try:
            __import__(name)
        except ImportError as error:
            raise NoForm(_NO_LIBRARIES.format(name)) from error


def _of_the_machine(error: Exception) -> bool:
    """Whether memory or the disk did not suffice, which is no property of the model."""
    for one in _chain(error):
        full = isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or isinstance(one, MemoryError):
            return True
    return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, and those that led to it."""
    following: BaseException | None = error
    for _ in range(_MOST_LINKS):
        if following is None:
            return
        yield following
        following = following.__cause__ or following.__context__


def _words(error: BaseException) -> str:
    """The first line that says something, of what the model raised and not of what MLflow makes of it."""
    chain = [*_chain(error)]
    raised = next((one for one in chain if type(one).__name__ != "MlflowException"), error)
    line = next((line.strip() for line in str(raised).splitlines() if line.strip()), "")
    name = type(raised).__name__
    return f"{name}: {line}"[:_MOST_WORDS] if line else name


def _write(path: Path, value: Mapping[str, Any]) -> None:
    """Write a file whole, or not at all: this process may be killed at any time."""
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(value), encoding="utf-8")
    draft.rename(path)


def main() -> None:
    """Do the task that the standard input names."""
    task = json.load(sys.stdin)
    limits.end_with(task["parent"])
    limits.limit_resources(task["memory"], task["cpu_seconds"], task["file_bytes"])
    os.environ.update(ENVIRONMENT)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime since 1.29 reports its use otherwise
    # -m put the folder of this package first; the modules of Python and its libraries come before it.
    sys.path.append(sys.path.pop(0))
    out = Path(task["out"])
    os.chdir(out)  # what the model writes at relative paths goes with this folder
    try:
        run(Path(task["model"]), out)
    except Exception as error:
        if not _of_the_machine(error):
            raise
        if not any(isinstance(one, MemoryError) for one in _chain(error)):
            sys.exit(DISK_FULL)
        why = f"it takes more than the {task['memory'] >> 20} MiB of memory that it may take"
        _write(out / FORM, {"why_not": why})


if __name__ == "__main__":
    main()
