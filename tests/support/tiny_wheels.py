"""Wheels of a few bytes, and an index of them: a folder, so that tests install in a second and offline."""

import base64
import hashlib
import io
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.support.missing import missing

#: What the server of a model needs, as small as it can be.
SERVER = {
    "uvicorn": "0.34.0",
    "uvloop": "0.21.0",
    "httptools": "0.6.4",
    "orjson": "3.10.0",
    "threadpoolctl": "3.5.0",
}

#: Of ``pyproject.toml``: the sources are built by a module of their own.
BACKEND = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def wheel(
    index: Path,
    name: str,
    version: str,
    *,
    requires: Iterable[str] = (),
    files: Mapping[str, str] | None = None,
    programs: Mapping[str, str] | None = None,
) -> Path:
    """Write a wheel with one module, its name.

    Args:
        files: further ones, by path.
        programs: entry points, such as ``{"tool": "tool:main"}``.
    """
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    points = "".join(f"{key} = {value}\n" for key, value in (programs or {}).items())
    content = {
        f"{module}/__init__.py": f"__version__ = '{version}'\n",
        **(files or {}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{points}",
    }
    record = "".join(
        f"{path},{_hash(text)},{len(text.encode())}\n" for path, text in content.items()
    )
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    index.mkdir(parents=True, exist_ok=True)
    path = index / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in content.items():
            # Always the same bytes: with a time of its own each wheel would be another one.
            archive.writestr(zipfile.ZipInfo(file), text)
    return path


def sdist(index: Path, name: str, version: str, backend: str) -> Path:
    """Write a source distribution that is built by a module of its own, which needs no other package."""
    module = name.replace("-", "_")
    content = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "pyproject.toml": BACKEND,
        "backend.py": backend,
    }
    index.mkdir(parents=True, exist_ok=True)
    path = index / f"{module}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file, text in content.items():
            member = tarfile.TarInfo(f"{module}-{version}/{file}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def filled_index(index: Path) -> Path:
    """An index with a tiny MLflow, what its server needs, and some packages."""
    pyfunc = {
        "mlflow/pyfunc/__init__.py": "",
        "mlflow/__main__.py": "def main() -> None:\n    print('a tiny mlflow')\n",
    }
    for version in ("2.9.2", "2.22.0", "3.17.2"):
        wheel(index, "mlflow", version, files=pyfunc, programs={"mlflow": "mlflow.__main__:main"})
    for name, version in SERVER.items():
        wheel(index, name, version)
    wheel(index, "setuptools", "70.0.0")
    wheel(index, "starlette", "0.52.1")
    wheel(index, "starlette", "1.0.0")
    wheel(index, "numbers-of-us", "1.0")
    wheel(index, "numbers-of-us", "2.0")
    wheel(index, "learner", "1.5", requires=["numbers-of-us<2"])
    return index


def offline(index: Path, cache: Path) -> dict[str, str]:
    """The variables of a build that knows one index only; skipped without uv."""
    own = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("uv", path=own) is None:
        missing("uv is not installed")
    cache.mkdir(parents=True, exist_ok=True)
    config = cache / "uv.toml"
    config.write_text(f"no-index = true\nfind-links = ['{index}']\n")
    return {
        "PATH": own,
        "HOME": str(cache),
        "UV_CONFIG_FILE": str(config),
        "UV_CACHE_DIR": str(cache),
        "UV_PYTHON_DOWNLOADS": "never",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(index),
        "PIP_CONFIG_FILE": os.devnull,
    }


def model(
    folder: Path,
    requirements: str,
    *,
    python: str = "",
    mlflow: str = "3.17.2",
    build: Iterable[str] = (),
) -> Path:
    """Write the files of a model's folder that say what it needs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MLmodel").write_text(f"flavors: {{}}\nmlflow_version: {mlflow}\n")
    (folder / "requirements.txt").write_text(requirements)
    lines = [f"python: {python}\n" if python else "", "build_dependencies:\n" if build else ""]
    lines += [f"- {one}\n" for one in build]
    (folder / "python_env.yaml").write_text(
        "".join(lines) + "dependencies:\n- -r requirements.txt\n"
    )
    return folder


def _hash(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={digest.decode().rstrip('=')}"
