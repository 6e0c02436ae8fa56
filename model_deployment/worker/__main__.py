"""``python -m model_deployment.worker``: imports the modules to preload, then serves as the warm parent."""

import argparse
import gc
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from model_deployment.worker import fitness, preload, process_setup, program_files, protocol
from model_deployment.worker.process_setup import PADDING_ARGUMENT

#: What every process of a launch needs besides the model's own libraries.
_OWN = ("ctypes", "model_deployment.worker.warm_parent")
#: What serves models. Imported before the first fork, since the files may be replaced meanwhile.
_SERVING = (
    *_OWN,
    "model_deployment.worker.scoring",
    "model_deployment.worker.shared_model",
    "model_deployment.worker.fast_path",
)


#: Seconds that our own modules may take, with uvicorn, NumPy and pandas.
_OWN_IMPORTS = 60.0


def main() -> None:
    """Import, restart without the module that forks cannot share if there is one, and serve."""
    options = _read()
    # -m put the folder of this package first; the modules of Python and its libraries come before it.
    sys.path.append(sys.path.pop(0))
    process_setup.keep(program_files.hold())
    os.environ.update(preload.ENVIRONMENT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C in a terminal is for the controller
    # Every fork shares what is allocated now, as long as the collector does not touch it.
    gc.disable()
    wanted = [name for name in options.preload.split(",") if name]
    refused = json.loads(options.refuse)
    _import_own(_SERVING if wanted else _OWN)
    done = preload.preload(wanted, refused)
    if done.culprit:
        print(f"{done.culprit} {done.why}: restarting without it", flush=True)  # noqa: T201
        _restart({**refused, done.culprit: done.why})
    if any(name.startswith("mlflow.") for name in wanted) and (why := fitness.obstacle()):
        _give_up(f"this environment cannot fork model servers: {why}")
    from model_deployment.worker import warm_parent

    preload.cache_installed_packages()
    if preload.threads() > 1:
        _give_up(f"cannot fork: several threads are running ({preload.thread_names()})")
    gc.collect()
    gc.freeze()
    hello = {
        "protocol": protocol.VERSION,
        "code": protocol.CODE,
        "package": protocol.package(),
        "python": sys.executable,
        "pid": os.getpid(),
        "preloaded": [name for name in done.modules if name in wanted],
        "refused": done.refused,
    }
    warm_parent.serve(Path(options.folder), options.name, hello, options.linger)


def _import_own(modules: Sequence[str]) -> None:
    done = preload.preload(modules, longest=_OWN_IMPORTS, altogether=_OWN_IMPORTS)
    if done.culprit:
        _give_up(f"cannot fork: {done.culprit} is needed, and {done.why}")
    for module, why in done.refused.items():
        _give_up(f"this environment cannot fork model servers: {module} {why}")


def _give_up(why: str) -> NoReturn:
    """End with the reason as the last line of the log, which the controller reads."""
    print(why, flush=True)  # noqa: T201
    sys.exit(protocol.UNFIT)


def _restart(refused: Mapping[str, str]) -> None:
    rest = [word for word in sys.argv[1:] if not word.startswith("--refuse=")]
    words = ["-m", "model_deployment.worker", f"--refuse={json.dumps(refused)}", *rest]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606


def _read() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--preload", default="")
    parser.add_argument("--refuse", default="{}", help="modules and why, as JSON")
    parser.add_argument("--linger", type=float, default=5.0)
    parser.add_argument(PADDING_ARGUMENT.rstrip("="), default="", help="room for a fork's title")
    return parser.parse_args()


if __name__ == "__main__":
    main()
