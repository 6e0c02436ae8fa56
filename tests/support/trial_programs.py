"""What is started in the place of a model's trial: ``python -m tests.support.trial_programs``.

The name of the folder of the model says what the program does.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from model_deployment.worker import limits


def main() -> None:
    task = json.load(sys.stdin)
    limits.end_with(task["parent"])
    out = Path(task["out"])
    answer = {"example": "example.json", "predictions": [1.0], "tolerance": 1e-4}
    (out / "answer.json").write_text(json.dumps(answer))
    match Path(task["model"]).name:
        case "hangs":
            # With a child, which would go on.
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            (out / "pids").write_text(f"{os.getpid()} {child.pid}")
            time.sleep(600)
        case "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "takes too long":
            os.kill(os.getpid(), signal.SIGXCPU)
        case "fails":
            raise ZeroDivisionError("at line 7")
        case "fills the disk":
            sys.exit(75)
        case "says nothing":
            (out / "answer.json").unlink()
        case "forges":
            (out / "form.json").write_text('{"inputs": [], "outputs": [], "max_difference": 0}')
            (out / "model.onnx").symlink_to("/etc/hostname")
        case "writes odd things":
            (out / "answer.json").write_text("[" * 100_000)
            (out / "form.json").write_text("[1, 2]")
        case "names a file":
            why = f"FileNotFoundError: '{task['model']}/data/weights.bin' is missing"
            (out / "form.json").write_text(json.dumps({"why_not": why}))
        case "tells its environment":
            found = {name: os.environ[name] for name in sorted(os.environ)}
            (out / "form.json").write_text(json.dumps({"why_not": json.dumps(found)}))


if __name__ == "__main__":
    main()
