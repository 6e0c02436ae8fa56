"""What containers of launches are, what their models need, and how they end."""

import json
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.domain import Address, Exit, LaunchSpec
from model_deployment.core.measures import Memory
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.runtime.container import ends, environment, output, spec
from model_deployment.runtime.container.build import plain, programs
from model_deployment.runtime.container.folders import LaunchFolders
from model_deployment.runtime.container.host_paths import translated

GIGABYTE = 1024**3


def body(options: Options, **given: str) -> dict[str, Any]:
    launch = LaunchSpec("launch1", ModelKey("iris", 1), "/models/x", Address("", 0), options)
    places = spec.Places("/host/model", "/host/offer")
    return spec.body("instance", launch, ("sha256:1", "image"), places, given, 60)


def test_container_has_the_limits_of_the_options() -> None:
    host = body(Options(memory_limit=GIGABYTE, cpu_limit=0.5))["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (GIGABYTE, GIGABYTE)
    assert host["CpuQuota"] / host["CpuPeriod"] == 0.5
    assert host["Tmpfs"]["/tmp"].startswith(f"size={GIGABYTE // 4},")


def test_container_without_a_number_of_processors_has_one_for_each_worker() -> None:
    host = body(Options(workers=3))["HostConfig"]
    assert host["CpuQuota"] / host["CpuPeriod"] == 3


def test_container_has_no_variable_that_names_a_place_of_the_controller() -> None:
    given = {"PATH": "/of/ours", "HOME": "/root", "SSL_CERT_FILE": "/etc/x", "GRANTED": "yes"}
    found = dict(line.split("=", 1) for line in body(Options(), **given)["Env"])
    assert found["GRANTED"] == "yes"
    assert found["HOME"] == "/tmp"
    assert "PATH" not in found
    assert "SSL_CERT_FILE" not in found


def test_container_mounts_are_read_only() -> None:
    mounts = body(Options())["HostConfig"]["Mounts"]
    assert [(one["Source"], one["ReadOnly"]) for one in mounts] == [
        ("/host/model", True),
        ("/host/offer", True),
    ]


def write(folder: Path, requirements: str, python: str = "3.11.7") -> Path:
    (folder / "requirements.txt").write_text(requirements)
    (folder / "python_env.yaml").write_text(
        f"python: {python}\ndependencies: [-r requirements.txt]\n"
    )
    return folder


def test_recipe_has_the_python_and_the_packages_of_the_model(tmp_path: Path) -> None:
    model = write(
        tmp_path, "# of MLflow\nmlflow==3.17.2\nscikit-learn==1.9 ; python_version > '3.8'\n\n"
    )
    found = environment.recipe(model, "python:{python}-slim", "1")
    assert found.base == "python:3.11-slim"
    assert found.requirements[:2] == (
        "mlflow==3.17.2",
        "scikit-learn==1.9 ; python_version > '3.8'",
    )
    assert {"uvicorn", "uvloop"} <= {*found.requirements}
    assert "mlflow" not in found.requirements


def test_recipe_of_the_same_requirements_in_another_order_is_the_same(tmp_path: Path) -> None:
    digests = set()
    for text in ("a==1\nb==2\n", "b==2\na==1\n"):
        digests.add(environment.recipe(write(tmp_path, text), "base", "1").digest)
    assert len(digests) == 1
    assert environment.recipe(tmp_path, "base", "2").digest not in digests


def test_recipe_reads_conda_where_there_is_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "conda.yaml").write_text(
        "dependencies:\n- python=3.10.4\n- pip:\n  - mlflow==2.9\n  - lightgbm\n"
    )
    found = environment.recipe(tmp_path, "python:{python}", "1")
    assert (found.base, found.requirements[:2]) == ("python:3.10", ("mlflow==2.9", "lightgbm"))


@pytest.mark.parametrize(
    "line",
    [
        "-e .", "-r other.txt", "-c constraints.txt", "--no-binary :all:", "--no-binary=numpy",
        "./wheels/x.whl", "/tmp/x.whl", "git+https://example.org/x", "x @ git+https://example.org/x",
        "x @ file:///etc/passwd", "x @ https://example.org/x.tar.gz", "--config-settings x=y",
        "x==1 --global-option=y \\", "code/x.whl",
        "x\x00y", "--trusted-host example.org", "https://example.org/x.whl",
        "--pre --no-binary :all:", "-i https://example.org/simple --no-binary=:all:", "--pre -e .",
        "--find-links /tmp", "x==1 --no-binary=x", "x;python_version>'3' --global-option=y",
        "x @ https://example.org/x.tar.gz#y.whl", "x @ https://example.org/x.tar.gz?y.whl",
        "-f https://example.org/${PIP_INDEX_URL}", "x @ https://example.org/${PIP_INDEX_URL}/x.whl",
    ],
)  # fmt: skip
def test_requirement_that_could_run_a_program_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(environment.UnusableRequirements, match="MODEL_DEPLOYMENT_IMAGE_BASE"):
        environment.recipe(write(tmp_path, f"mlflow==3.17.2\n{line}\n"), "base", "1")


@pytest.mark.parametrize(
    "line",
    [
        "numpy", "numpy==1.0", "numpy[extra]>=1,<2", "numpy~=1.0; python_version<'3.12'", "--pre",
        "--extra-index-url https://download.example.org/cu118", "x @ https://example.org/x-1-py3-none-any.whl",
        "torch==2.0+cpu", "zope.interface!=5",
    ],
)  # fmt: skip
def test_requirement_that_names_a_package_is_taken(tmp_path: Path, line: str) -> None:
    found = environment.recipe(write(tmp_path, f"{line}\n"), "base", "1")
    assert line in found.requirements


@pytest.mark.parametrize(
    "content", [b"python: [", b"\xff\xfe", b"- a\n- b\n", b"python: {}\n", b""]
)
def test_files_of_a_model_that_cannot_be_read_do_no_harm(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "python_env.yaml").write_bytes(content)
    with pytest.raises(environment.UnusableRequirements):
        environment.recipe(tmp_path, "python:{python}", "1")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0, Exit("the process exited with status 0", 0)),
        (3, Exit("the process exited with status 3", 3)),
        (78, Exit("the process exited with status 78", 78, permanent=True)),
        (137, Exit("the process was killed by SIGKILL", -9)),
        (143, Exit("the process was killed by SIGTERM", -15)),
        (255, Exit("the process exited with status 255", 255)),
    ],
)
def test_end_of_a_container_is_told_as_that_of_a_process(code: int, expected: Exit) -> None:
    assert ends.of_container({"State": {"ExitCode": code}}) == expected


def test_end_for_want_of_memory_tells_the_limit() -> None:
    state = {"ExitCode": 137, "OOMKilled": True}
    found = ends.of_container({"State": state, "HostConfig": {"Memory": GIGABYTE}})
    assert "memory_limit of 1.0 GB" in found.reason


def test_memory_leaves_out_pages_that_the_kernel_drops() -> None:
    stats = {"memory_stats": {"usage": 100, "stats": {"inactive_file": 30}}}
    assert ends.memory_of(stats) == Memory(70, 70, 70, forked=False)
    assert ends.memory_of({"memory_stats": {}}) is None


def test_times_of_engines_are_read_to_the_nanosecond() -> None:
    docker = "2026-11-30T05:24:42.000000001Z"
    podman = "2026-11-30T06:24:42.5+01:00"
    assert output._nanoseconds(docker) == 1796016282_000000001
    assert output._nanoseconds(podman) == 1796016282_500000000
    assert output._nanoseconds("no time") is None


def test_lines_that_were_fetched_before_are_left_out() -> None:
    said = "2026-11-30T05:24:42.000000001Z one\n2026-11-30T05:24:42.000000002Z two\n"
    lines, last = output._lines(said, "2026-11-30T05:24:42.000000001Z")
    assert lines == ["2026-11-30T05:24:42.000Z two\n"]
    assert output._lines(said, last) == ([], last)


def test_lines_of_a_build_are_without_the_times_of_the_engine() -> None:
    log = (
        "2026-11-30T05:24:42.1Z Collecting x\n"
        "2026-11-30T05:24:42.2Z \n"
        "2026-11-30T05:24:42.3Z   ERROR: No matching distribution found for x==1\n"
    )
    assert plain(log) == ["Collecting x", "  ERROR: No matching distribution found for x==1"]
    assert plain("") == []


def test_paths_are_those_of_the_engines_machine() -> None:
    mounts = [(Path("/data/flows"), Path("/v/flows/_data")), (Path("/data"), Path("/v/data/_data"))]
    assert translated(Path("/data/containers/a"), mounts) == "/v/data/_data/containers/a"
    assert translated(Path("/data/flows/a"), mounts) == "/v/flows/_data/a"
    with pytest.raises(OSError, match="on no volume"):
        translated(Path("/tmp/a"), mounts)


def test_files_of_a_launch_can_be_read_by_its_user_and_entered_by_nobody_else(
    tmp_path: Path,
) -> None:
    model = tmp_path / "model"
    (model / "data").mkdir(parents=True, mode=0o700)
    (model / "data" / "weights").write_text("w")
    (model / "data" / "weights").chmod(0o600)
    (model / "out").symlink_to("/etc/passwd")
    (model / "in").symlink_to("data/weights")
    folders = LaunchFolders(tmp_path / "c")
    folder = folders.make("launch1", model)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "model" / "data").stat().st_mode & 0o777 == 0o755
    assert (folder / "model" / "data" / "weights").stat().st_mode & 0o444 == 0o444
    assert (folder / "model" / "in").read_text() == "w"
    assert not (folder / "model" / "out").is_symlink()
    with pytest.raises(FileExistsError):
        folders.make("launch1", model)
    folders.remove("launch1")
    folders.remove("launch1")
    assert folders.launches() == []
    assert (model / "data" / "weights").read_text() == "w"


def test_programs_in_images_are_those_of_model_servers() -> None:
    names = {name for name, _ in programs()}
    assert {"model_deployment/worker/contained.py", "build_program.py"} <= names
    rooms = {name.split("/")[1] for name in names if name.count("/") == 2}
    assert rooms == {"worker", "http"}


def test_bodies_are_json_and_stay_the_same() -> None:
    assert json.dumps(body(Options())) == json.dumps(body(Options()))
