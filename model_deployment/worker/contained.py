"""The first process of a container: takes the listening socket that the controller offers, and serves.

The container has no network. The controller listens on a Unix socket outside of it, and hands the listening
socket over (unix(7), SCM_RIGHTS) to whoever connects to the socket in ``OFFER``, a folder that only this
container has. A controller that is killed before is replaced by another one, which offers it again: so the
offer is asked for until it comes.

Where the model's environment fits, the model is served by :mod:`model_deployment.worker.scoring`, else by
MLflow's own application. This module needs the standard library of Python 3.8 only.
"""

import array
import contextlib
import errno
import os
import signal
import socket
import sys
import time

#: Where the container has what the controller gives it.
OFFER = "/run/model-deployment/offer.sock"
MODEL = "/model"
#: Of the environment.
WORKERS, TIMEOUT = "SERVE_WORKERS", "SERVE_TIMEOUT"
#: A program that serves in place of the model's server, for tests.
PROGRAM = "SERVE_PROGRAM"
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: Seconds between attempts to get the socket.
_PAUSE = 0.1
#: Added to the number of a signal in an exit status, as shells do.
_KILLED = 128


def main() -> int:
    """Start the server, pass signals on to all processes, and end with the server's status."""
    if os.getpid() != 1:
        return _serve()
    signals = _Signals()
    child = os.fork()
    if child == 0:
        os.setsid()
        for number in _PASSED_ON:
            signal.signal(number, signal.SIG_DFL)
        os._exit(_run())
    ended = _reap_until(child)
    killed = os.WIFSIGNALED(ended)
    status = _KILLED + os.WTERMSIG(ended) if killed else os.WEXITSTATUS(ended)
    if signals.passed:
        # Processes that were asked to end may finish something. The controller limits their time.
        with contextlib.suppress(ChildProcessError):
            _reap_until(0)
    # The kernel kills those that are left when the first process ends.
    return status


class _Signals:
    """Passes signals on to all processes of the container; the first one has no other use for them."""

    def __init__(self) -> None:
        self.passed = False
        for number in _PASSED_ON:
            signal.signal(number, self._pass_on)

    def _pass_on(self, number: int, _: object) -> None:
        self.passed = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, number)


def _reap_until(child: int) -> int:
    """Reap processes, orphans as well, until a child has ended; its status.

    A server that a signal has stopped would be asked and would not answer, so it is killed.
    """
    while True:
        pid, status = os.waitpid(-1, os.WUNTRACED)
        if pid != child:
            continue
        if not os.WIFSTOPPED(status):
            return status
        print("the server was stopped by a signal, and is ended", file=sys.stderr, flush=True)  # noqa: T201
        os.kill(child, signal.SIGKILL)


def _run() -> int:
    """In the child: serve; the exit status."""
    try:
        return _serve()
    except SystemExit as end:
        if isinstance(end.code, int) or end.code is None:
            return end.code or 0
        print(end.code, file=sys.stderr)  # noqa: T201
        return 1
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _serve() -> int:
    descriptor = take_socket()
    program = os.environ.get(PROGRAM)
    if program:
        return _run_program(program, descriptor)
    from model_deployment.worker import fitness

    why = fitness.obstacle()
    if why:
        print("served by MLflow's own application: " + why, file=sys.stderr)  # noqa: T201
        return _serve_plainly(descriptor)
    from model_deployment.worker import scoring, shared_model, threads

    threads.apply(before=0)
    model = scoring.ServedModel(MODEL, descriptor, float(os.environ[TIMEOUT]))
    return shared_model.run(int(os.environ[WORKERS]), model)


def take_socket(path: str = OFFER) -> int:
    """The descriptor of the listening socket."""
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            try:
                client.connect(path)
                # Python 3.8 has no socket.recv_fds.
                numbers = array.array("i")
                room = socket.CMSG_LEN(numbers.itemsize)
                _, ancillary, _, _ = client.recvmsg(1, room)
                for level, kind, content in ancillary:
                    if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                        numbers.frombytes(content[: numbers.itemsize])
                        return numbers[0]
            except OSError as error:
                if error.errno == errno.EMFILE:
                    raise
        time.sleep(_PAUSE)


def _serve_plainly(descriptor: int) -> int:
    """As ``mlflow models serve`` does it."""
    # What its command line gives to its server.
    os.environ["__pyfunc_model_path__"] = MODEL  # noqa: SIM112
    os.environ["MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT"] = os.environ[TIMEOUT].partition(".")[0]
    os.set_inheritable(descriptor, True)
    import uvicorn

    uvicorn.run(
        "mlflow.pyfunc.scoring_server.app:app",
        fd=descriptor,
        workers=int(os.environ[WORKERS]),
        access_log=False,
        # Longer than the proxies keep idle connections.
        timeout_keep_alive=75,
    )
    return 0


def _run_program(program: str, descriptor: int) -> int:
    import runpy

    sys.argv = [program, "--model-uri", MODEL, "--descriptor", str(descriptor)]
    sys.path.insert(0, os.path.dirname(program))  # noqa: PTH120
    runpy.run_path(program, run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
