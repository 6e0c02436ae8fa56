"""Examples as people log them, and what MLflow saves of each beside a model."""

import datetime as dt
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

NAN = float("nan")


def examples() -> dict[str, Any]:
    """Examples by what is peculiar about them; a pair is an example with params."""
    frame = pd.DataFrame
    return {
        "doubles with gaps": frame({"a": [1.0, NAN], "b": [1, 2]}),
        "texts with gaps": frame({"a": ["x", None], "b": [1, 2]}),
        "nothing but gaps": frame({"a": [NAN, NAN], "b": [1.0, 2.0]}),
        "nullable doubles": frame({"a": pd.array([1.5, None], dtype="Float64")}),
        "nullable texts": frame({"a": pd.array(["x", None], dtype="string")}),
        "nullable booleans": frame({"a": pd.array([True, None], dtype="boolean"), "c": [1.0, 2.0]}),
        "booleans with gaps": frame({"a": [None, False], "c": [1.0, NAN], "s": ["x", "y"]}),
        "times with gaps": frame({"a": [pd.Timestamp("2026"), pd.NaT], "b": [1.0, 2.0]}),
        "times": frame({"a": [pd.Timestamp("2026-01-31T12:00"), pd.Timestamp("2026-02-01T12:00")]}),
        "dates": frame({"a": [dt.date(2026, 1, 1), dt.date(2026, 1, 2)]}),
        "bytes": frame({"a": [b"x" * 100, b"y"], "b": [1.0, 2.0]}),
        "small numbers": frame(
            {
                "a": np.array([1, 2], "int8"),
                "b": np.array([0.1, 2], "float32"),
                "c": np.array([1, 2], "u4"),
            }
        ),
        "uint64": frame({"a": np.array([1, 2], "uint64")}),
        "large numbers": frame({"a": [2**60, 2**53 + 1]}),
        "categories": frame({"a": pd.Categorical(["x", "y"]), "b": pd.Categorical([1, 2])}),
        "an index": frame({"a": [1.0, 2.0]}, index=["r", "s"]),
        "numbered columns": frame(np.arange(4.0).reshape(2, 2)),
        "numbered columns with gaps": frame(np.array([[1, NAN], [2.0, 3]])),
        "one numbered column of text": frame(["a", "b"]),
        "names of two kinds": frame([[1.0, 2.0]], columns=[0, "x"]),
        "names with a point": frame([[1.0, 2.0]], columns=[0.5, 1.5]),
        "names of our own": frame({"params": [1.0], "inputs": [2.0]}),
        "lists": frame({"a": [[1, 2], [3]], "b": [["x"], []]}),
        "lists with gaps": frame({"a": [[1.0, NAN], [3.0]], "b": [1, 2]}),
        "arrays": frame({"a": [np.array([1.0, 2.0]), np.array([3.0])]}),
        "objects": frame({"a": [{"x": 1, "y": "z"}, {"x": 2}]}),
        "objects with gaps": frame({"a": [{"x": 1.5, "y": None}, {"x": 2.5, "y": "s"}]}),
        "objects of one gap": frame({"a": [{"x": 1.5, "y": NAN}, {"x": 2.5, "y": 1.5}]}),
        "keys that differ": frame({"a": [{"k1": 1}, {"k2": 2}]}),
        "mixed values": frame({"a": [1, "x"]}),
        "the word NaN": frame({"a": ["NaN", "Infinity"]}),
        "a gap and an unknown type": frame({"a": [None, None], "b": [1.0, 2.0]}),
        "no rows": frame({"a": pd.Series([], dtype=float)}),
        "an array": np.arange(4.0).reshape(2, 2),
        "an array with gaps": np.array([[1.0, NAN], [2, 3]]),
        "a float32 array with gaps": np.array([[1.0, NAN], [2, 3]], "float32"),
        "an array of three dimensions": np.zeros((2, 3, 4)),
        "a list of numbers": np.arange(3),
        "an image": np.zeros((1, 2, 2, 3), "uint8"),
        "texts": np.array(["a", "b"]),
        "rows of texts": np.array([["a", "b"]]),
        "booleans": np.array([True, False]),
        "objects in an array": np.array(["a", 1.5], dtype=object),
        "times in an array": np.array(["2026-01-01", "2026-01-02T12:00"], dtype="datetime64[ns]"),
        "arrays by name": {"x": np.zeros((2, 3)), "y": np.array([1, 2])},
        "arrays by name with gaps": {"x": np.array([[1.0, NAN]])},
        "arrays of other lengths": {"x": np.zeros((2, 3)), "y": np.array([1, 2, 3])},
        "a text": "hello",
        "some texts": ["a", "b"],
        "a number": 3,
        "a truth": True,
        "a time": dt.datetime(2026, 1, 1),
        "a byte string": b"abc",
        "numbers": [1, 2, 3],
        "numbers with gaps": [1.5, NAN],
        "lists of numbers": [[1.0, 2.0], [3.0, 4.0]],
        "records": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
        "records with gaps": [{"a": 1.5, "b": "q"}, {"a": NAN, "b": None}],
        "records that lack something": [{"a": "q", "b": 1.0}, {"b": 2.0}],
        "one record": {"a": 1, "b": "x"},
        "one record with a gap": {"a": 1.5, "b": NAN},
        "columns": {"a": [1, 2], "b": ["x", "y"]},
        "columns of text": {"a": ["x", "y"]},
        "nested": [{"a": {"b": {"c": [{"d": 1.5, "e": ["x"]}]}}}],
        "a chat": {"messages": [{"role": "user", "content": "hi"}]},
        "a prompt": {"prompt": "x"},
        "an input": {"input": ["x", "y"]},
        "a chat with params": ({"messages": [{"role": "user", "content": "hi"}]}, {"heat": 0.5}),
        "a frame with params": (frame({"a": [1.0, 2.0]}), {"k": 3, "s": "x", "l": [1.0, 2.0]}),
        "a frame with gaps and params": (frame({"a": [1.0, NAN]}), {"at": dt.datetime(2026, 1, 1)}),
        "an array with params": (np.zeros((1, 2)), {"k": 3}),
        "a text with params": ("hello", {"k": 0.5}),
        "params in an object": (frame({"a": [1.0]}), {"d": {"x": 1}}),
    }


def saved(
    folder: Path, example: Any, *, required: bool = False, keep: bool = True
) -> dict[str, Any]:
    """Write what MLflow saves, and tell the parts of the signature.

    Args:
        required: all columns are, as if the signature had been made of other rows.
        keep: the example is saved too.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.models import infer_signature
        from mlflow.models.utils import _Example

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        data, params = example if isinstance(example, tuple) else (example, None)
        texts = infer_signature(data, params=params).to_dict()
        serving = _Example(example).json_serving_input
    parts = {
        name: json.loads(texts[name]) if texts.get(name) else None for name in ("inputs", "params")
    }
    if required:
        parts["inputs"] = [
            one if one["type"] == "tensor" else {**one, "required": True}
            for one in parts["inputs"] or ()
        ]
    signature = {name: json.dumps(part) for name, part in parts.items() if part}
    (folder / "MLmodel").write_text(yaml.safe_dump({"signature": signature}))
    if keep:
        (folder / "serving_input_example.json").write_text(serving)
    return parts
