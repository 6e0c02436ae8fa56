"""Small real models, of ONNX and of MLflow, and the files and manifests of releases made of them."""

import base64
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper

#: Columns of the linear models.
COLUMNS = ("a", "b")
#: A model without libraries, as MLflow loads it.
LOADER = """
class Model:
    def predict(self, frame):
        return (frame["a"] * 10 + frame["b"]).tolist()

def _load_pyfunc(path):
    return Model()
"""
MLMODEL = b"flavors:\n  python_function:\n    loader_module: tens\n    code: code\n    data: data\n"


def linear(weights: tuple[float, float], bias: float) -> bytes:
    """ONNX of ``weights · (a, b) + bias``."""
    return _model(
        [
            helper.make_node("MatMul", ["x", "w"], ["p"]),
            helper.make_node("Add", ["p", "c"], ["y"]),
        ],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [2, 1], list(weights)),
            helper.make_tensor("c", TensorProto.FLOAT, [1], [bias]),
        ],
    )


def one_row_only() -> bytes:
    """ONNX of ``a + b`` that fails for any number of rows but one."""
    return _model(
        [
            helper.make_node("Reshape", ["x", "shape"], ["r"]),
            helper.make_node("MatMul", ["r", "w"], ["y"]),
        ],
        [
            helper.make_tensor("shape", TensorProto.INT64, [2], [1, 2]),
            helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [1.0, 1.0]),
        ],
    )


def endless() -> bytes:
    """ONNX that does not end."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["again"]),
            helper.make_node("Sin", ["state"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("place", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [None, 2]),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [None, 2]),
        ],
    )
    return _model(
        [
            helper.make_node("Loop", ["times", "yes", "x"], ["s"], body=body),
            helper.make_node("MatMul", ["s", "w"], ["y"]),
        ],
        [
            helper.make_tensor("times", TensorProto.INT64, [], [2**62]),
            helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
            helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [1.0, 1.0]),
        ],
    )


def greedy(mebibytes: int) -> bytes:
    """ONNX that takes so much memory for each prediction."""
    return _model(
        [
            helper.make_node("ConstantOfShape", ["size"], ["much"]),
            helper.make_node("ReduceSum", ["much"], ["sum"], keepdims=0),
            helper.make_node("MatMul", ["x", "w"], ["p"]),
            helper.make_node("Add", ["p", "sum"], ["y"]),
        ],
        [
            helper.make_tensor("size", TensorProto.INT64, [1], [mebibytes * 1024 * 256]),
            helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [1.0, 1.0]),
        ],
    )


def _model(nodes: list[Any], constants: list[Any]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


#: What the manifest says of these models.
ONNX_FORM: Mapping[str, Any] = {
    "inputs": [{"name": "x", "columns": list(COLUMNS), "type": "float32"}],
    "outputs": ["y"],
    "max_difference": 0.0,
}
EXAMPLE = {"columns": list(COLUMNS), "data": [[1.0, 2.0]]}


class Signer:
    """Makes releases of one project, with a key of its own."""

    def __init__(self, project: str = "hall") -> None:
        self.project = project
        self._key = Ed25519PrivateKey.generate()
        self.public = self._key.public_key().public_bytes_raw()
        self.id = hashlib.sha256(self.public).hexdigest()[:16]
        #: Contents of all files so far, by SHA-256.
        self.blobs: dict[str, bytes] = {}

    def release(
        self,
        number: int,
        onnx_model: bytes | None = None,
        *,
        predictions: Any = None,
        files: Mapping[str, bytes] | None = None,
        change: Callable[[dict[str, Any]], None] = lambda manifest: None,
    ) -> dict[str, str]:
        """An offer: by default of a linear model with the weights (number, 1).

        Args:
            change: changes the manifest before it is signed.
        """
        if onnx_model is None:
            onnx_model, predictions = linear((float(number), 1.0), 0.5), [number + 2.5]
        contents = {
            "model/MLmodel": b"flavors: {}\n",
            "model/input_example.json": json.dumps(EXAMPLE).encode(),
            "onnx/model.onnx": onnx_model,
            **(files or {}),
        }
        listed = []
        for path, content in contents.items():
            digest = hashlib.sha256(content).hexdigest()
            self.blobs[digest] = content
            listed.append({"path": path, "size": len(content), "sha256": digest})
        now = int(time.time() * 1000)
        manifest = {
            "format": 1,
            "project": self.project,
            "number": number,
            "model": "wear",
            "version": number,
            "created": now,
            "expires": now + 3_600_000,
            "minimum_agent": "0.1.0",
            "files": listed,
            "onnx": dict(ONNX_FORM),
            "example": "model/input_example.json",
            "answer": None
            if predictions is None
            else {"predictions": predictions, "tolerance": 1e-4},
            "reverts": None,
        }
        change(manifest)
        return self.signed(json.dumps(manifest, sort_keys=True, separators=(",", ":")))

    def signed(self, text: str) -> dict[str, str]:
        """An offer of any text."""
        signature = base64.b64encode(self._key.sign(text.encode())).decode()
        return {"manifest": text, "signature": signature, "key": self.id}
