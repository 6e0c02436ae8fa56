"""A process computes with the threads of its launch, whatever computes, and whenever it was loaded."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from model_deployment.worker import threads

#: In a fork of a process that has loaded libraries with one thread: how many a thread that predicts uses.
PROGRAM = """
import os, sys, threading
from model_deployment.worker import preload, threads
os.environ.update(preload.ENVIRONMENT)
before, wanted = sys.argv[1] == "before", int(sys.argv[2])
if before:
    import sklearn.ensemble
if os.fork() == 0:
    os.environ.update(threads.environment(wanted))
    threads.apply()
    import onnxruntime, sklearn.ensemble, threadpoolctl
    from onnx import TensorProto, helper
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", made[:1], made[1:])
    opset = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()

    def predict():
        threads.begin_thread()
        pools = {(one["user_api"], one["num_threads"]) for one in threadpoolctl.threadpool_info()}
        session = onnxruntime.InferenceSession(model)
        own = onnxruntime.SessionOptions()
        own.intra_op_num_threads = 3
        chosen = onnxruntime.InferenceSession(model, own)
        import joblib
        numbers = [one.get_session_options().intra_op_num_threads for one in (session, chosen)]
        print(sorted(pools), numbers, joblib.cpu_count(), flush=True)

    one = threading.Thread(target=predict)
    one.start()
    one.join()
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize(("loaded", "wanted"), [("before", 2), ("after", 1)])
def test_pools_of_a_thread_that_predicts(loaded: str, wanted: int) -> None:
    words = [sys.executable, "-c", PROGRAM, loaded, str(wanted)]
    said = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout
    assert said.strip() == f"[('blas', {wanted}), ('openmp', {wanted})] [{wanted}, 3] {wanted}"


#: With the signatures of CatBoost's own, and -1 for all processors.
CATBOOST = """
class CatBoost:
    def predict(self, data, ntree_start=0, thread_count=-1, verbose=None):
        return thread_count


class CatBoostClassifier(CatBoost):
    def predict_proba(self, X, thread_count=-1):
        return self.predict(X, thread_count=thread_count)

    def predict_plainly(self, X):
        return X
"""


@pytest.mark.parametrize("loaded", ["before", "after"])
def test_catboost_predicts_with_the_number_unless_a_call_names_one(
    loaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "catboost.py").write_text(CATBOOST)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.delitem(sys.modules, "catboost", raising=False)
    monkeypatch.setenv(threads.COUNT, "2")
    try:
        if loaded == "before":
            importlib.import_module("catboost")
        threads.apply(before=0)
        catboost = importlib.import_module("catboost")
        model = catboost.CatBoostClassifier()
        assert [model.predict(1), model.predict(1, 0, -1), model.predict_proba(1)] == [2, 2, 2]
        assert [model.predict(1, 0, 7), model.predict_proba(1, thread_count=7)] == [7, 7]
        assert model.predict_plainly(5) == 5
    finally:
        sys.modules.pop("catboost", None)


def test_variables_name_the_number_once_for_each_library() -> None:
    found = threads.environment(4)
    assert {found.pop("OMP_WAIT_POLICY")} == {"PASSIVE"}
    assert {*found.values()} == {"4"}
    assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", threads.COUNT} <= {*found}


@pytest.mark.parametrize(("text", "number"), [("", 0), ("3", 3), ("many", 0)])
def test_the_number_of_a_process(monkeypatch: pytest.MonkeyPatch, text: str, number: int) -> None:
    monkeypatch.setenv(threads.COUNT, text)
    assert threads.count() == number
