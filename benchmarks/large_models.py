"""What the workers of a large model take: PSS of 1, 2 and 4 workers for each format, and while they load.

    python -m benchmarks.large_models [--megabytes 1024] [--formats pickle,torch] [--folder /tmp/large]

Each model is loaded and served as the worker does it (``model_deployment.worker.shared_model``), in a
process that has imported the format's library. Formats whose library is missing are left out. A worker uses
all of its model once before the memory is read. Formats with a comma in their name are separated by ``;``.
"""

import argparse
import contextlib
import importlib
import importlib.util
import os
import pickle
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from model_deployment.worker import shared_model, threads

_MB = 1024 * 1024


def _numbers(size: int) -> Any:
    return np.random.default_rng(0).random((size // 4096, 1024), dtype=np.float32)


def _make_pickle(path: Path, size: int) -> None:
    with path.open("wb") as file:
        pickle.dump({"numbers": _numbers(size)}, file, protocol=5)


def _load_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)["numbers"]


def _make_forest(path: Path, size: int) -> None:
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(0)
    trees = max(1, size // (_MB * 5 // 2))
    model = RandomForestRegressor(trees, n_jobs=-1).fit(rng.random((20_000, 5)), rng.random(20_000))
    with path.open("wb") as file:
        pickle.dump(model, file, protocol=5)


def _load_forest(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)


def _make_mapped(path: Path, size: int) -> None:
    with path.open("wb") as file:
        np.save(file, _numbers(size))


def _make_safetensors(path: Path, size: int) -> None:
    from safetensors.numpy import save_file

    save_file({"numbers": _numbers(size)}, path)


def _load_safetensors(path: Path) -> Any:
    from safetensors.numpy import load_file

    return load_file(path)["numbers"]


def _make_torch(path: Path, size: int) -> None:
    import torch

    torch.save({"numbers": torch.from_numpy(_numbers(size))}, path)


def _load_torch(path: Path) -> Any:
    import torch

    return torch.load(path, weights_only=True)["numbers"].numpy()


def _load_torch_mapped(path: Path) -> Any:
    import torch

    return torch.load(path, weights_only=True, mmap=True)["numbers"].numpy()


def _make_onnx(path: Path, size: int) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    count = size // (2048 * 2048 * 4)
    weight = np.random.default_rng(0).random((2048, 2048), dtype=np.float32) / 2048
    weights = [numpy_helper.from_array(weight + n, f"w{n}") for n in range(count)]
    nodes = [helper.make_node("MatMul", [f"x{n}", f"w{n}"], [f"x{n + 1}"]) for n in range(count)]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2048])
        for name in ("x0", f"x{count}")
    ]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)


def _load_onnx(path: Path) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_outputs()[0].name
    return lambda: session.run([name], {"x0": np.ones((1, 2048), np.float32)})


#: By format: the library, what writes a file, what loads it, and the threads of each worker.
FORMATS: dict[str, tuple[str, Callable[[Path, int], None], Callable[[Path], Any], int]] = {
    "pickle": ("numpy", _make_pickle, _load_pickle, 1),
    "forest": ("sklearn", _make_forest, _load_forest, 1),
    "mapped": ("numpy", _make_mapped, lambda path: np.load(path, mmap_mode="r"), 1),
    "safetensors": ("safetensors", _make_safetensors, _load_safetensors, 1),
    "torch": ("torch", _make_torch, _load_torch, 1),
    "torch mapped": ("torch", _make_torch, _load_torch_mapped, 1),
    "onnx": ("onnxruntime", _make_onnx, _load_onnx, 1),
    "onnx, 2 threads": ("onnxruntime", _make_onnx, _load_onnx, 2),
}


class _Model:
    def __init__(self, path: Path, load: Callable[[Path], Any], folder: Path) -> None:
        self._path = path
        self._load = load
        self._folder = folder

    def load(self) -> Any:
        return self._load(self._path)

    def serve(self, loaded: Any) -> int:
        if callable(loaded):
            loaded()
        elif hasattr(loaded, "predict"):
            loaded.predict(np.zeros((1, 5)))
        else:
            loaded.sum()
        (self._folder / f"{os.getpid()}.up").touch()
        signal.pause()
        return 0


def _pss(session: int) -> int:
    """Bytes of memory of all processes of a session, shared pages divided among those that share them."""
    total = 0
    for name in os.listdir("/proc"):  # noqa: PTH208
        with contextlib.suppress(OSError, ValueError):
            if os.getsid(int(name)) == session:
                text = Path(f"/proc/{name}/smaps_rollup").read_text()
                total += int(text.split("\nPss:")[1].split()[0]) * 1024
    return total


def _measure(name: str, path: Path, workers: int, folder: Path) -> tuple[int, int, float]:
    """PSS at most while workers load, PSS afterwards (both in bytes), and the seconds until all serve."""
    library, _, load, count = FORMATS[name]
    up = folder / "up"
    shutil.rmtree(up, ignore_errors=True)
    up.mkdir()
    begin = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.environ.update(threads.environment(count))  # noqa: TID251 - a process of its own
        threads.apply(before=0)
        importlib.import_module(library)
        os._exit(shared_model.run(workers, _Model(path, load, up)))
    most = 0
    while len([*up.iterdir()]) < workers:
        most = max(most, _pss(pid))
        time.sleep(0.02)
    took, after = time.monotonic() - begin, _pss(pid)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return max(most, after), after, took


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--formats", default=",".join(one for one in FORMATS if "," not in one))
    parser.add_argument("--folder", type=Path, default=Path("/tmp/large-models"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    print("| format | file | workers | most while loading | afterwards | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in given.formats.split(";") if ";" in given.formats else given.formats.split(","):
        library, make, _, _ = FORMATS[name]
        if importlib.util.find_spec(library) is None:
            continue
        path = given.folder / "model"
        pid = os.fork()  # what makes the file leaves no memory and no thread here
        if pid == 0:
            make(path, given.megabytes * _MB)
            os._exit(0)
        os.waitpid(pid, 0)
        size = path.stat().st_size // _MB
        for workers in (1, 2, 4):
            most, after, took = _measure(name, path, workers, given.folder)
            row = (
                name,
                f"{size} MB",
                workers,
                f"{most // _MB} MB",
                f"{after // _MB} MB",
                f"{took:.1f}",
            )
            print(f"| {' | '.join(map(str, row))} |", flush=True)
        path.unlink()
    shutil.rmtree(given.folder)


if __name__ == "__main__":
    main()
