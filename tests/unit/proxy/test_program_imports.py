"""A proxy is small: it does not import what serves models, tables or the API."""

import json
import subprocess
import sys

HEAVY = {
    "evidently", "fastapi", "jinja2", "mlflow", "numpy", "pandas", "pyarrow", "pydantic", "pymongo",
    "scipy", "sqlite3", "starlette", "typer",
}  # fmt: skip


def test_a_proxy_imports_no_large_library() -> None:
    program = "import json, sys, model_deployment.proxy.__main__; print(json.dumps([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    imported = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "uvloop" in imported
    assert not imported & HEAVY
