"""Which networks are known to predict row by row. Those of PyTorch and Keras are tried where they are."""

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore")  # of libraries among each other


def onnx_session(tmp_path: Any, *nodes: Any, **weights: Any) -> Any:
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = make.make_graph(
        [make.make_node(*args, **more) for args, more in nodes],
        "g",
        [make.make_tensor_value_info("x", kind, ("n", 4))],
        [make.make_tensor_value_info("y", kind, None)],
        [onnx.numpy_helper.from_array(np.array(value), name) for name, value in weights.items()],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.save(model, tmp_path / "m.onnx")
    return onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])


def op(kind: str, inputs: str = "x", output: str = "y", **more: Any) -> Any:
    return (kind, inputs.split(), [output]), more


W = np.ones((4, 3), np.float32)


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ([op("Gemm", "x w", "g"), op("Softmax", "g")], {"w": W}),
        ([op("ReduceMean", "x a", keepdims=1)], {"a": [1]}),
        ([op("Reshape", "x s", "r"), op("Relu", "r")], {"s": [0, -1]}),
        ([op("ArgMax", "x", "a", axis=1), op("Cast", "a", to=1)], {}),
        ([op("Concat", "x x", axis=1)], {}),
    ],
)
def test_onnx_operators_of_single_rows(tmp_path: Any, nodes: Any, weights: Any) -> None:
    from model_deployment.worker.onnx_rows import find_problem

    assert find_problem(onnx_session(tmp_path, *nodes, **weights)) == ""


@pytest.mark.parametrize(
    ("nodes", "weights", "why"),
    [
        ([op("Softmax", "x", axis=0)], {}, "Softmax"),
        ([op("ReduceMean", "x")], {}, "ReduceMean"),
        ([op("ReduceMean", "x a")], {"a": [0]}, "ReduceMean"),
        ([op("Transpose", "x", "t", perm=[1, 0]), op("MatMul", "x t")], {}, "Transpose"),
        ([op("MatMul", "x x2")], {"x2": np.ones((4, 2), np.float32)}, ""),
        ([op("CumSum", "x a")], {"a": np.array(0)}, "CumSum"),
        ([op("Reshape", "x s")], {"s": [2, -1]}, "Reshape"),
        ([op("ArgMax", "x", "a"), op("Cast", "a", to=1)], {}, "ArgMax"),
        ([op("Concat", "x x", axis=0)], {}, "Concat"),
    ],
)
def test_onnx_operators_across_rows(tmp_path: Any, nodes: Any, weights: Any, why: str) -> None:
    from model_deployment.worker.onnx_rows import find_problem

    found = find_problem(onnx_session(tmp_path, *nodes, **weights))
    assert found.startswith(f"its operator {why} ") if why else found == ""


def torch_network(forward: Any, **layers: Any) -> Any:
    nn = pytest.importorskip("torch").nn

    class Net(nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            for name, layer in layers.items():
                setattr(self, name, layer)

        def forward(self, x: Any) -> Any:
            return forward(self, x)

    return Net().eval()


def test_networks_of_pytorch_of_single_rows() -> None:
    torch = pytest.importorskip("torch")
    nn, fn = torch.nn, torch.nn.functional
    from model_deployment.worker.torch_rows import find_problem

    conv, line = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)
    small = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    for network in (
        nn.Sequential(conv, nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Softmax(1)).eval(),
        torch_network(
            lambda s, x: s.l(torch.flatten(fn.max_pool2d(fn.relu(s.c(x)), 2), 1)), c=conv, l=line
        ),
        torch_network(lambda s, x: fn.log_softmax(s.l(s.c(x).view(-1, 8)), dim=1), c=conv, l=line),
        torch_network(lambda s, x: s.l(s.c(x).view(x.size(0), -1)), c=conv, l=line),
        torch_network(lambda s, x: s.l(s.c(x).reshape(x.shape[0], -1)) + 1, c=conv, l=line),
        torch_network(
            lambda s, x: s.l(s.r(x)[0][:, -1]), r=nn.LSTM(3, 8, batch_first=True), l=line
        ),
        torch_network(lambda s, x: s.e(x).mean(dim=1), e=nn.Embedding(10, 4)),
        torch_network(lambda s, x: fn.dropout(s.l(x), training=s.training), l=line),
        torch_network(lambda s, x: s.t(x).mean(1), t=nn.TransformerEncoder(small, 1)),
    ):
        assert find_problem(network) == ""


def test_networks_of_pytorch_that_look_at_other_rows() -> None:
    torch = pytest.importorskip("torch")
    nn, fn = torch.nn, torch.nn.functional
    from model_deployment.worker.torch_rows import find_problem

    line, small = nn.Linear(3, 4), nn.TransformerEncoderLayer(8, 2, 16)
    networks = {
        "training mode": nn.Sequential(nn.Linear(3, 4)),
        "softmax()": torch_network(lambda s, x: torch.softmax(s.l(x), 0), l=line),
        "mean()": torch_network(lambda s, x: s.l(x) - s.l(x).mean(0), l=line),
        "sum()": torch_network(lambda s, x: s.l(x) / s.l(x).sum(), l=line),
        "sort()": torch_network(lambda s, x: torch.sort(s.l(x), dim=0)[0], l=line),
        "BatchNorm1d": torch_network(
            lambda s, x: s.b(x), b=nn.BatchNorm1d(3, track_running_stats=False)
        ),
        "LSTM": torch_network(lambda s, x: s.r(x)[0], r=nn.LSTM(3, 8)),
        "TransformerEncoderLayer": torch_network(
            lambda s, x: s.t(x), t=nn.TransformerEncoder(small, 1)
        ),
        "t()": torch_network(lambda s, x: s.l(x) @ s.l(x).t(), l=line),
        "cannot be followed": torch_network(lambda s, x: s.l(x) if x.sum() > 0 else x, l=line),
        "permute()": torch_network(lambda s, x: s.l(x.permute(1, 0)), l=line),
        "dropout()": torch_network(lambda s, x: fn.dropout(s.l(x)), l=line),
        "view()": torch_network(lambda s, x: s.l(x).view(2, -1), l=line),
        "some rows": torch_network(lambda s, x: s.l(x)[0], l=line),
        "batch_norm()": torch_network(lambda s, x: fn.batch_norm(x, None, None, training=True)),
        "computes with the sizes": torch_network(lambda s, x: s.l(x) / x.size(0), l=line),
        "flip()": torch_network(lambda s, x: torch.flip(x, [0])),
        "fractional_max_pool2d": torch_network(lambda s, x: fn.fractional_max_pool2d(x, 2, 1)),
    }
    for why, network in networks.items():
        assert why in (find_problem(network) or "nothing")
    hooked = nn.Sequential(nn.Linear(3, 4)).eval()
    hooked[0].register_forward_hook(lambda *_: None)
    assert "hooks" in find_problem(hooked)


def test_networks_of_keras() -> None:
    keras = pytest.importorskip("keras")
    from model_deployment.worker.keras_rows import find_problem

    layers = keras.layers

    class Own(layers.Layer):  # type: ignore[name-defined]
        def call(self, x: Any) -> Any:
            return x - keras.ops.mean(x, axis=0)

    def network(make: Any, *shape: int) -> Any:
        entry = keras.Input(shape)
        return keras.Model(entry, make(entry))

    dense = layers.Dense(3, activation="softmax")
    for good in (
        keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), dense]),
        keras.Sequential([keras.Input((8, 3)), layers.Bidirectional(layers.LSTM(4))]),
        network(lambda x: layers.Concatenate()([layers.Dense(2)(x), x]), 4),
        network(layers.TimeDistributed(layers.Dense(2)), 4, 3),
    ):
        assert find_problem(good) == ""
    for why, bad in {
        "training mode": network(lambda x: layers.BatchNormalization()(x, training=True), 4),
        "Lambda": network(layers.Lambda(lambda y: y[::-1], output_shape=(4,)), 4),
        "first axis": network(lambda x: keras.ops.softmax(x, axis=0), 4),
        "Own": keras.Sequential([keras.Input((4,)), keras.Sequential([layers.Dense(3), Own()])]),
        "activation": network(layers.Dense(2, activation=lambda y: y - y), 4),
    }.items():
        assert why in find_problem(bad)
