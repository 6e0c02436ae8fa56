"""A real model that several workers of a fork serve: loaded once, its pages shared, and right."""

import json
import urllib.request
from dataclasses import replace
from pathlib import Path

import psutil

from model_deployment.core.measures import WorkerCounts
from model_deployment.core.options import Options
from model_deployment.runtime.worker_counts import worker_counts
from tests.integration.runtime.conftest import ForkBench
from tests.support.waiting import until

MB = 1024 * 1024
#: Bytes of the array in the model.
SIZE = 80 * MB

CODE = """
import os, threading, time
import numpy as np

class Sum:
    def __init__(self):
        self.numbers = np.ones({count})

    def predict(self, data, params=None):
        return [float(self.numbers.sum()), os.getpid()]

def _load_pyfunc(path):
    if {threaded}:
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    return Sum()
"""


DESCRIPTION = """
flavors:
  python_function:
    loader_module: sum_of_many
    code: code
"""


async def test_workers_share_what_they_can(forks: ForkBench, tmp_path: Path) -> None:
    forks.use(program=None, preload=("numpy", "pandas", "mlflow.pyfunc.scoring_server"))
    own, log = await _served(forks, _saved(tmp_path / "plain", threaded=False))
    assert max(own) < SIZE
    assert "by itself" not in log
    own, log = await _served(forks, _saved(tmp_path / "threaded", threaded=True))
    assert min(own) > SIZE
    assert "each worker loads the model by itself, since it has 2 threads" in log


def _saved(folder: Path, *, threaded: bool) -> Path:
    """The folder of a model."""
    (folder / "code").mkdir(parents=True)
    (folder / "code/sum_of_many.py").write_text(CODE.format(count=SIZE // 8, threaded=threaded))
    (folder / "MLmodel").write_text(DESCRIPTION)
    return folder


async def _served(forks: ForkBench, model: Path) -> tuple[list[int], str]:
    """Bytes that each worker of a model has for itself, and the log of its launch."""
    spec = replace(forks.spec(), model_path=str(model), options=Options(workers=3), threads=1)
    handle = await forks.runtime.start(spec)
    await until(lambda: worker_counts(handle) == WorkerCounts(3, 3, ""), timeout=60)
    answered = set()
    for _ in range(60):
        total, pid = _predict(spec.address.port)
        assert total == SIZE // 8
        answered.add(pid)
    assert len(answered) > 1
    own = [psutil.Process(pid).memory_full_info().uss for pid in answered]
    return own, forks.log(handle).read_text()


def _predict(port: int) -> tuple[float, int]:
    body = json.dumps({"inputs": [1]}).encode()
    call = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(call, timeout=30) as answer:
        total, pid = json.load(answer)["predictions"]
    return total, int(pid)
