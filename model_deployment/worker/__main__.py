"""``python -m model_deployment.worker``: imports the modules to preload, then serves as the warm parent."""

import argparse
import gc
import os
import signal
import sys
from pathlib import Path

from model_deployment.worker import preload, protocol
from model_deployment.worker.process_setup import PADDING_ARGUMENT

#: What every model's process needs besides the model's own libraries.
_OWN = ("ctypes", "model_deployment.worker.warm_parent")
_SERVING = ("model_deployment.worker.scoring",)
#: Imported before the first fork too, since the files may be replaced while the parent lives.
_LATER = ("model_deployment.worker.fast_path",)


def main() -> None:
    """Import, restart without the module that starts threads if one does, and serve."""
    options = _read()
    # -m put the folder of this package first; the modules of Python and its libraries come before it.
    sys.path.append(sys.path.pop(0))
    os.environ.update(preload.ENVIRONMENT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C in a terminal is for the controller
    # Every fork shares what is allocated now, as long as the collector does not touch it.
    gc.disable()
    wanted = [name for name in options.preload.split(",") if name]
    refused = [name for name in options.refuse.split(",") if name]
    own = (*_OWN, *(_SERVING if wanted else ()))
    done = preload.preload([*wanted, *own, *(_LATER if wanted else ())], refused)
    if done.culprit:
        names = preload.thread_names()
        print(f"{done.culprit} starts threads ({names}): restarting without it", flush=True)  # noqa: T201
        if done.culprit in own:
            sys.exit(f"cannot fork: {done.culprit} is needed, and starts threads")
        _restart([*refused, done.culprit])
    from model_deployment.worker import warm_parent

    preload.cache_installed_packages()
    if preload.threads() > 1:
        sys.exit(f"cannot fork: several threads are running ({preload.thread_names()})")
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


def _restart(refused: list[str]) -> None:
    rest = [word for word in sys.argv[1:] if not word.startswith("--refuse=")]
    words = ["-m", "model_deployment.worker", f"--refuse={','.join(refused)}", *rest]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606


def _read() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--preload", default="")
    parser.add_argument("--refuse", default="")
    parser.add_argument("--linger", type=float, default=5.0)
    parser.add_argument(PADDING_ARGUMENT.rstrip("="), default="", help="room for a fork's title")
    return parser.parse_args()


if __name__ == "__main__":
    main()
