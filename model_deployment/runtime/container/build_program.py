"""Runs in a container that becomes an image: compiles what is there, and installs the requirements.

A program of its own, for Python 3.8 and later. Where packages come from is in a file, which is removed: an
image keeps the environment of the container that it was made from, but no file that is gone.

No program of a package runs, since it could read the passwords of the index and use the network. pip's
``--only-binary`` is not enough: it says nothing about the address of a source archive, which a wheel may
require. So pip runs in this process, which can start no other one by then; and no Python starts afterwards,
which would run what wheels put into ``.pth`` files. pip itself compiles what it installs.
"""

import json
import os
import runpy
import subprocess
import sys
import sysconfig

FOLDER = "/opt/model-deployment"
_STARTS = (
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "subprocess.Popen",
)
#: A file there, which is removed as well.
CERTIFICATES = "certificates.pem"


def main() -> int:
    with open(FOLDER + "/index.json") as file:  # noqa: PTH123
        given = json.load(file)
    os.remove(FOLDER + "/index.json")  # noqa: PTH107
    # A file for another Python does not compile.
    subprocess.call(
        [sys.executable, "-m", "compileall", "-q", "-q", "-j", "0", FOLDER, *_libraries()]
    )
    sys.addaudithook(_refuse_programs)
    os.environ.update(given, PIP_ROOT_USER_ACTION="ignore", PIP_NO_INPUT="1")
    os.environ.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_CACHE_DIR="1")
    sys.argv = [
        "pip", "install", "--progress-bar", "off", "--only-binary", ":all:",
        "-r", FOLDER + "/requirements.txt",
    ]  # fmt: skip
    try:
        # It ends by SystemExit, with pip's status.
        runpy.run_module("pip", run_name="__main__", alter_sys=True)
    finally:
        os.remove(os.path.join(FOLDER, CERTIFICATES))  # noqa: PTH107, PTH118
    return 0


def _refuse_programs(event: str, _: object) -> None:
    if event in _STARTS:
        raise PermissionError("only wheels can be installed, and no program of a package runs")


def _libraries() -> list:  # type: ignore[type-arg]
    paths = sysconfig.get_paths()
    return sorted({paths["stdlib"], paths["purelib"], paths["platlib"]})


if __name__ == "__main__":
    sys.exit(main())
