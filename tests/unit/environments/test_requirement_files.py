"""What pip and uv are given to install from."""

from pathlib import Path

import pytest

from model_deployment.core.options import EnvManager
from model_deployment.environments import requirement_files
from model_deployment.environments.needs import Needs, read_needs
from tests.support import tiny_wheels


def written(
    folder: Path, needs: Needs, *, uv: bool = True
) -> list[tuple[tuple[str, ...], list[str]]]:
    """The arguments of each step, with the lines of the file that it installs."""
    steps = []
    for step in requirement_files.write(needs, needs.server, folder, uv=uv):
        steps.append((step, (folder / step[1]).read_text().splitlines()))
    return steps


def test_build_dependencies_come_first_and_the_server_with_the_model(tmp_path: Path) -> None:
    model = tiny_wheels.model(
        tmp_path / "m", "numpy==1\n-c constraints.txt\n", build=["pip==23", "setuptools"]
    )
    (model / "constraints.txt").write_text("six<2\n")
    first, second = written(tmp_path, read_needs(model, EnvManager.UV))
    assert first == (("-r", "build.txt"), ["pip==23", "setuptools"])
    assert second[0] == ("-r", "requirements.txt", "-c", "constraints.txt")
    assert {"numpy==1", "mlflow==3.17.2", "uvicorn", "--only-binary uvloop"} <= {*second[1]}
    assert (tmp_path / "constraints.txt").read_text() == "six<2\n"


def test_options_that_uv_takes_elsewhere_are_left_out_of_its_file(tmp_path: Path) -> None:
    text = "--pre\n--trusted-host a.example\n-i https://a.example/simple\nnumpy\n"
    needs = read_needs(tiny_wheels.model(tmp_path / "m", text), EnvManager.UV)
    plain = ["--pre", "--trusted-host a.example", "--index-url https://a.example/simple"]
    assert written(tmp_path, needs, uv=False)[0][1][:3] == plain
    lines = written(tmp_path, needs)[0][1]
    assert lines[0] == "--index-url https://a.example/simple"
    assert not {*plain[:2]} & {*lines}


def test_model_with_hashes_gets_its_server_behind_it(tmp_path: Path) -> None:
    text = f"numpy==1.0 \\\n    --hash=sha256:{'0' * 64}\n"
    needs = read_needs(tiny_wheels.model(tmp_path / "m", text), EnvManager.UV)
    first, second = written(tmp_path, needs)
    assert first[1] == [f"numpy==1.0 --hash=sha256:{'0' * 64}"]
    assert second[0] == ("-r", "server.txt", "-c", "pinned.txt")
    assert (tmp_path / "pinned.txt").read_text() == "numpy==1.0\n"
    assert "uvicorn" in second[1]


@pytest.mark.parametrize("uv", [True, False])
def test_hashes_are_asked_for_of_the_models_own_packages_only(tmp_path: Path, uv: bool) -> None:
    hashed = f"--hash=sha256:{'0' * 64}"
    text = (
        f"--require-hashes\nlearner[more]==1.0 {hashed}\n/srv/own-1.0-py3-none-any.whl {hashed}\n"
    )
    model = tiny_wheels.model(tmp_path / "m", text, build=["pip==23"])
    build, own, server = written(tmp_path, read_needs(model, EnvManager.UV), uv=uv)
    assert build == (("-r", "build.txt"), ["pip==23"])
    # uv before 0.12 ignores it in files, and installs dependencies without a hash.
    assert own[0] == ("-r", "requirements.txt", "--require-hashes")
    assert server[0] == ("-r", "server.txt", "-c", "pinned.txt")
    assert "uvicorn" in server[1]
    assert not any("--require-hashes" in lines for _, lines in (build, own, server))
    # A constraint has a name, and no extras.
    assert (tmp_path / "pinned.txt").read_text() == "learner==1.0\n"
