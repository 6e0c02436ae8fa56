"""The process of one model: reads requests from standard input, line by line, and writes answers.

The first line is the setup: ``{"folder", "onnx", "memory"}``, answered by ``{"ready": form}`` or
``{"cannot": why}``. Each
further line is ``{"columns", "rows"}``, answered by ``{"predictions"}``, ``{"bad_input"}`` or
``{"error"}``. The process
ends with its standard input: also if the agent was killed, and also within a prediction that never ends.
"""

import contextlib
import importlib.util
import json
import os
import queue
import resource
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from model_deployment_agent.errors import BadInput

#: Bytes of an answer.
MAX_ANSWER = 4 * 1024 * 1024


class Model(Protocol):
    """What predicts."""

    def predict(self, columns: Any, rows: list[Any]) -> list[Any]:
        """One prediction for each row."""


def load(folder: Path, onnx: Mapping[str, Any]) -> tuple[str, Model]:
    """The model of a release in the form that this device can run: ONNX first, it is small.

    Raises:
        BadInput: it can run in none.
    """
    why = str(onnx.get("why_not") or "")
    if not why and importlib.util.find_spec("onnxruntime") is not None:
        from model_deployment_agent.onnx_model import OnnxModel

        return "onnx", OnnxModel(folder / "onnx" / "model.onnx", onnx["inputs"], onnx["outputs"])
    if importlib.util.find_spec("mlflow") is not None:
        from model_deployment_agent.pyfunc_model import PyfuncModel

        return "mlflow", PyfuncModel(folder / "model")
    if why:
        raise BadInput(
            f"it has no ONNX form ({why[:200]}), and MLflow is not installed on the device"
        )
    raise BadInput(
        "neither onnxruntime nor MLflow is installed; install model-deployment-agent[onnx]"
    )


def main() -> None:
    """Answer until standard input ends."""
    # What the model prints is for the log: answers have a pipe of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Nor has what the model starts these two pipes: the agent would wait for its end.
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, lines), daemon=True).start()
    setup = json.loads(lines.get())
    _limit(setup["memory"])
    try:
        form, model = load(Path(setup["folder"]), setup["onnx"])
    except BadInput as error:
        _write(answers, {"cannot": str(error)})
        return
    except Exception as error:
        why = f"loading failed: {type(error).__name__}: {error}"[:500]
        if _of_memory(error):
            why = f"it needs more than {setup['memory'] >> 20:,} MiB of memory"
        _write(answers, {"cannot": why})
        return
    _write(answers, {"ready": form})
    while True:
        _write(answers, _answer(model, lines.get()))


def _read(source: IO[str], lines: "queue.SimpleQueue[str]") -> None:
    for line in source:
        lines.put(line)
    if os.getpgid(0) == os.getpid():  # with what the model has started
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _answer(model: Model, line: str) -> dict[str, Any]:
    try:
        asked = json.loads(line)
    except RecursionError:
        return {"bad_input": "cannot read the request: it is nested too deeply"}
    try:
        return {"predictions": model.predict(asked["columns"], asked["rows"])}
    except BadInput as error:
        return {"bad_input": str(error)}
    except Exception as error:
        if _of_memory(error):
            return {"error": "the model ran out of memory"}
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def _of_memory(error: Exception) -> bool:
    """Whether memory did not suffice; onnxruntime passes on the words of C++."""
    return isinstance(error, MemoryError) or "std::bad_alloc" in str(error)


def _limit(memory: int) -> None:
    """Bound the memory that this process may write to, in bytes; the kernel ends it before the agent."""
    if memory:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _write(answers: IO[str], answer: Mapping[str, Any]) -> None:
    text = json.dumps(answer, allow_nan=False)
    if len(text) >= MAX_ANSWER:  # the agent would read no further, and end the model
        why = f"cannot predict: the answer has more than {MAX_ANSWER:,} bytes; send fewer rows"
        text = json.dumps({"bad_input": why})
    answers.write(text + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
