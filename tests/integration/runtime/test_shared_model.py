"""A real model that several workers of a fork serve: loaded once, its pages shared, and right."""

import json
import urllib.request
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

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


@pytest.mark.parametrize("threaded", [False, True])
async def test_workers_share_what_they_can(
    forks: ForkBench, tmp_path: Path, *, threaded: bool
) -> None:
    code = tmp_path / "saved/code"
    code.mkdir(parents=True)
    (code / "sum_of_many.py").write_text(CODE.format(count=SIZE // 8, threaded=threaded))
    (tmp_path / "saved/MLmodel").write_text(DESCRIPTION)
    forks.use(program=None, preload=("numpy", "pandas", "mlflow.pyfunc.scoring_server"))
    spec = replace(
        forks.spec(), model_path=str(tmp_path / "saved"), options=Options(workers=3), threads=1
    )
    handle = await forks.runtime.start(spec)
    await until(lambda: worker_counts(handle) == WorkerCounts(3, 3, ""), timeout=60)
    answered = set()
    for _ in range(60):
        total, pid = _predict(spec.address.port)
        assert total == SIZE // 8
        answered.add(pid)
    assert len(answered) > 1
    own = [psutil.Process(pid).memory_full_info().uss for pid in answered]
    log = forks.log(handle).read_text()
    if threaded:
        assert min(own) > SIZE
        assert "each worker loads the model by itself, since it has 2 threads" in log
    else:
        assert max(own) < SIZE
        assert "by itself" not in log


def _predict(port: int) -> tuple[float, int]:
    body = json.dumps({"inputs": [1]}).encode()
    call = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(call, timeout=30) as answer:
        total, pid = json.load(answer)["predictions"]
    return total, int(pid)
