"""Which models of tensors pass the trial of row independence, and what it says of the others."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from model_deployment.gate import Gate, Mergeable, MergeableTensors
from model_deployment.proxy.answers import Outputs
from model_deployment.proxy.row_independence import _compare, _compare_varied
from tests.support.gates import Spec, gate, tensor

SPEC = tensor("float32", -1, 4)
EXAMPLE = {"inputs": [[0.5, 1.5, -2.0, 3.0], [1.0, 2.0, 3.0, 4.0]]}
WEIGHTS = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
Model = Callable[..., Any]
Ask = Callable[..., Any]


async def by_number(one: Gate, example: Any, predict: Any) -> str:
    return await _compare(one, example, predict, 64)


async def unasked(one: Gate, example: Any, predict: Any) -> str:
    return await _compare_varied(one, example, predict, 64)


@pytest.fixture(params=[by_number, unasked])
def way(request: pytest.FixtureRequest) -> Ask:
    """The trial with a number as batch_max_rows, and that of auto."""
    found: Ask = request.param
    return found


async def tried(way: Ask, model: Model, example: Any = EXAMPLE, *specs: Spec) -> str:
    async def predict(table: Mergeable) -> list[Any] | None:
        assert isinstance(table, MergeableTensors)
        arrays = [
            np.array(flat, kind.dtype).reshape(table.rows, *kind.shape)
            for kind, flat in zip(table.kinds, table.values, strict=True)
        ]
        try:
            found = model(*arrays)
        except (IndexError, ValueError):
            return None
        if isinstance(found, dict):
            lists = {name: value.tolist() for name, value in found.items()}
            return [
                Outputs(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)
            ]
        predicted: list[Any] = found.tolist() if isinstance(found, np.ndarray) else found
        return predicted

    said: str = await way(gate(*specs or [SPEC]), example, predict)
    return said


def softmax(x: Any, axis: int) -> Any:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def rounded_otherwise(x: Any) -> Any:
    """As a library adds up in another order for several rows."""
    return (x @ WEIGHTS) * np.float32(1 if len(x) == 1 else 1 + 3e-7)


GOOD: dict[str, Model] = {
    "probabilities": lambda x: softmax(x @ WEIGHTS, 1),
    "rounding": rounded_otherwise,
    "labels": lambda x: (x @ WEIGHTS).argmax(axis=1),
    "embedding": lambda x: np.tanh(x @ WEIGHTS),
    "outputs": lambda x: {"label": (x @ WEIGHTS).argmax(1), "p": softmax(x @ WEIGHTS, 1)},
    "windows": lambda x: np.stack([x, x * 2], axis=1),
    "text": lambda x: ["cat" if row[0] > 0 else "dog" for row in x],
    "double": lambda x: x.astype("float64") @ WEIGHTS.astype("float64"),
}
BAD: dict[str, Model] = {
    "softmax over the batch": lambda x: softmax(x @ WEIGHTS, 0),
    "statistics of the batch": lambda x: (x - x.mean(0)) / (x.std(0) + 1e-5),
    "sorts": lambda x: np.sort(x @ WEIGHTS, axis=0),
    "attention across the batch": lambda x: softmax(x @ x.T, 1) @ x,
    "reverses": lambda x: (x @ WEIGHTS)[::-1],
    "ranks": lambda x: (x @ WEIGHTS)[:, 0].argsort().argsort(),
    "normalises": lambda x: x / np.abs(x).max(),
    "one for all": lambda x: (x @ WEIGHTS).mean(0),
    "grows": lambda x: np.repeat(x, len(x), axis=0),
    "an output for all": lambda x: {"p": x @ WEIGHTS, "mean": np.full(len(x), x.mean())},
    "noise": lambda x: x @ WEIGHTS + np.float32(1e-3) * len(x),
    "recurrent over rows": lambda x: np.cumsum(x @ WEIGHTS, axis=0),
}


@pytest.mark.parametrize("name", GOOD)
async def test_a_model_of_single_rows_passes(way: Ask, name: str) -> None:
    assert await tried(way, GOOD[name]) == ""
    assert await tried(way, GOOD[name], {"inputs": [[0.5, 1.5, -2.0, 3.0]]}) == ""


@pytest.mark.parametrize("name", BAD)
async def test_a_model_that_mixes_rows_does_not(way: Ask, name: str) -> None:
    for example in (EXAMPLE, {"inputs": [[0.5, 1.5, -2.0, 3.0]]}):
        found = await tried(way, BAD[name], example)
        assert "alone" in found or "together are answered" in found
        if way is by_number:
            assert found.startswith("its requests must not be merged (batch_max_rows): ")
            assert found.endswith("Deploy it without batch_max_rows")


async def test_numbers_of_words_stay_in_the_vocabulary(way: Ask) -> None:
    table = np.random.default_rng(1).normal(size=(9, 3)).astype("float32")
    words = {"inputs": [[1, 8, 2, 0], [1, 5, 3, 0]]}
    spec = tensor("int64", -1, 4)
    assert await tried(way, lambda ids: table[ids].mean(1), words, spec) == ""


async def test_images_of_bytes(way: Ask) -> None:
    spec = tensor("uint8", -1, 2, 2, 3)
    image = {"inputs": np.zeros((1, 2, 2, 3), int).tolist()}
    assert await tried(way, lambda x: x.astype("float32").mean((1, 2)) / 255, image, spec) == ""


async def test_several_tensors(way: Ask) -> None:
    specs = tensor("float32", -1, 2, name="x"), tensor("int64", -1, name="k")
    example = {"inputs": {"x": [[1.5, 2], [3, 4]], "k": [0, 1]}}
    assert await tried(way, lambda x, k: x * k[:, None], example, *specs) == ""
    assert "alone" in await tried(way, lambda x, k: x * k.sum(), example, *specs)


async def test_a_fixed_first_axis_is_told(way: Ask) -> None:
    found = await tried(way, GOOD["labels"], {"inputs": [[1.0] * 4]}, tensor("float32", 1, 4))
    assert "the first axis of its input has the fixed size 1" in found


async def test_a_model_that_takes_one_row_only_is_not_merged(way: Ask) -> None:
    def single(x: Any) -> Any:
        if len(x) != 1:
            raise ValueError
        return x @ WEIGHTS

    assert "together are answered with no list of predictions" in await tried(way, single)


async def test_a_model_that_refuses_most_rows_cannot_be_tried(way: Ask) -> None:
    def picky(x: Any) -> Any:
        if not math.isclose(float(x[0, 0]), 0.5):
            raise ValueError
        return x

    found = await tried(way, picky)
    assert "of the rows that its input example or its signature gives" in found
    assert found.startswith("cannot check" if way is by_number else "it predicts only")


async def test_doubles_differ_by_less_when_nobody_asked() -> None:
    def off(x: Any) -> Any:
        return x.astype("float64") @ WEIGHTS * (1 + 1e-7 * (len(x) > 1))

    assert await tried(by_number, off) == ""
    assert "alone" in await tried(unasked, off)


async def test_a_model_that_centres_large_batches_only(way: Ask) -> None:
    def model(x: Any) -> Any:
        return x - x.mean(0) if len(x) >= 32 else x

    assert "together with" in await tried(way, model)
