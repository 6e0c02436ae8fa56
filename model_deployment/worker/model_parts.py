"""Looks into a loaded model: whether all it is made of predicts each row by itself.

What is not certainly of this kind is not: a class or a function from elsewhere, however harmless, ends the
search. A model that is refused wrongly is slower, and no worse.
"""

import functools
import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from model_deployment.worker import keras_rows, onnx_rows, torch_rows
from model_deployment.worker.row_wise import FLAVORS, Verdict, flavor_of

#: Parts that are looked at. A forest of 10,000 trees has about 50,000.
_MOST_PARTS = 500_000
#: Types without parts.
_PLAIN = frozenset({
    type(None), bool, int, float, complex, str, bytes, slice, range, type(...), re.Pattern,
})  # fmt: skip
_CONTAINERS = (list, tuple, set, frozenset)
_FUNCTIONS = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodDescriptorType,
    types.MethodWrapperType, types.WrapperDescriptorType, types.ClassMethodDescriptorType,
    functools.partial,
)  # fmt: skip
#: Packages whose objects hold data; their functions are functions like others.
_DATA = frozenset({"numpy", "scipy", "pandas"})
#: Packages whose own classes predict row by row.
_ROW_WISE = frozenset(flavor.package for flavor in FLAVORS.values())
#: Classes that hold a model in native code.
_NATIVE = ("xgboost.core.", "lightgbm.basic.", "catboost.core.", "_catboost.")
#: Attributes of scikit-learn's classes that only ``fit`` and ``score`` read.
_FIT_ONLY = frozenset({"cv", "memory", "refit", "score_func", "scorer_", "scoring"})


def _always(part: Any) -> bool:
    return True


#: scikit-learn's own classes that predict or transform rows together, or not always alike: when, and why.
_EXCEPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "DictionaryLearning": (_always, "encodes the rows of a call together"),
    "DummyClassifier": (
        lambda part: part.strategy in ("stratified", "uniform"),
        "draws its predictions at random",
    ),
    "FunctionTransformer": (
        lambda part: not (part.func is None and part.inverse_func is None),
        "calls a function on all rows of a call",
    ),
    "IterativeImputer": (lambda part: part.sample_posterior, "draws values at random"),
    "MiniBatchDictionaryLearning": (_always, "encodes the rows of a call together"),
    "MiniBatchNMF": (_always, "stops when the error over all rows of a call is small"),
    "MiniBatchSparsePCA": (_always, "transforms one row into another shape than several"),
    "NMF": (_always, "stops when the error over all rows of a call is small"),
    "PatchExtractor": (_always, "makes several rows of one"),
    "SparseCoder": (_always, "encodes the rows of a call together"),
    "SparsePCA": (_always, "transforms one row into another shape than several"),
}


#: What looks into networks, by their flavor.
_FINDERS: dict[str, Callable[[Any], str]] = {
    "pytorch": torch_rows.find_problem,
    "keras": keras_rows.find_problem,
    "tensorflow": keras_rows.find_problem,
    "onnx": onnx_rows.find_problem,
}


def judge(model: Any) -> Verdict:
    """Whether a model that ``mlflow.pyfunc`` has loaded predicts each row by itself, by construction."""
    flavor = flavor_of(model.metadata.flavors)
    if isinstance(flavor, str):
        return Verdict(False, flavor)
    wrapper = model._model_impl
    if not type(wrapper).__module__.startswith("mlflow."):
        return Verdict(False, "it is not wrapped as MLflow wraps models of its flavor")
    find = _FINDERS.get(flavor.name, find_problem)
    if problem := find(wrapper.get_raw_model()):
        return Verdict(False, problem)
    return Verdict(True, flavor.reason)


def find_problem(model: Any) -> str:
    """The first part found that may not predict row by row, in a sentence; empty if there is none."""
    seen: dict[int, Any] = {}  # keeps each part alive, so that no other gets its id
    parts = [model]
    while parts:
        part = parts.pop()
        if id(part) in seen:
            continue
        if len(seen) >= _MOST_PARTS:
            return f"it has more than {_MOST_PARTS:,} parts, too many to look at"
        seen[id(part)] = part
        if problem := _problem(part):
            return problem
        parts.extend(inner for inner in _inner(part) if type(inner) not in _PLAIN)
    return ""


def _problem(part: Any) -> str:
    """What is wrong with a part itself, in a sentence."""
    if isinstance(part, _FUNCTIONS) or _is_function_of_numpy(part):
        name = str(getattr(part, "__qualname__", type(part).__qualname__))[:100]
        own = _package(part) in _ROW_WISE and _is_found(part)
        return "" if own else f"it calls the function {name}, which may look at all rows"
    kind = part if isinstance(part, type) else type(part)
    package = _package(kind)
    if package in _ROW_WISE or package in ("builtins", "collections"):
        if not _is_found(kind):
            return f"its class {_name(kind)} is not the one of that name that is installed"
        when, why = _EXCEPTIONS.get(kind.__name__, (None, ""))
        if package == "sklearn" and when is not None and not isinstance(part, type) and when(part):
            return f"its {kind.__name__} {why}"
        return ""
    if package in _DATA or _name(kind).startswith(_NATIVE):
        return ""
    return f"it holds a {_name(kind)}, whose code is not known to look at one row at a time"


def _inner(part: Any) -> Iterator[Any]:
    """What a part is made of."""
    if isinstance(part, (type, types.ModuleType, *_FUNCTIONS)):
        return
    if isinstance(part, dict):
        yield from part
        yield from part.values()
    elif isinstance(part, _CONTAINERS):
        yield from part
    elif getattr(getattr(part, "dtype", None), "hasobject", False) and hasattr(part, "tolist"):
        yield from part.ravel().tolist()
    kind = type(part)
    if _package(kind) in _ROW_WISE and not _name(kind).startswith(_NATIVE):
        for name, value in getattr(part, "__dict__", {}).items():
            if name not in _FIT_ONLY:
                yield value


def _is_function_of_numpy(part: Any) -> bool:
    return _package(type(part)) == "numpy" and (
        type(part).__name__ in ("ufunc", "vectorize", "_ArrayFunctionDispatcher")
    )


def _is_found(thing: Any) -> bool:
    """Whether the module that a class or a function names has it: another may have taken the name."""
    if thing is type(None) or thing in (types.FunctionType, types.BuiltinFunctionType):
        return True
    found: Any = sys.modules.get(str(getattr(thing, "__module__", "")))
    for name in str(getattr(thing, "__qualname__", "")).split("."):
        found = getattr(found, name, None)
    return found is thing


def _package(thing: Any) -> str:
    return str(getattr(thing, "__module__", "")).partition(".")[0]


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"[:100]
