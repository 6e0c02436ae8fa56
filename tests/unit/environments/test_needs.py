"""What a model needs, read from its folder: which spellings are the same, and which are not."""

import sys
from pathlib import Path

import pytest

from model_deployment.core.options import EnvManager
from model_deployment.environments.environment import BuildFailed
from model_deployment.environments.needs import read_needs, signature
from tests.support import tiny_wheels
from tests.support.model_needs import needs

UV = EnvManager.UV
PLAIN = "mlflow==2.9.2\nnumpy==1.26.4\nscikit-learn[extra,more]>=1.3,<2\n"


@pytest.mark.parametrize(
    "text",
    [
        "numpy==1.26.4\nscikit-learn[extra,more]>=1.3,<2\nmlflow==2.9.2\n",
        "mlflow==2.9.2\r\nnumpy==1.26.4\r\nscikit-learn[extra,more]>=1.3,<2\r\n",
        "\n# of MLflow\nmlflow == 2.9.2  # pinned\n\n  numpy==1.26.4\nscikit_learn[more, extra]<2, >=1.3",
        "MLflow==2.9.2\nNumPy==1.26.4\nscikit.learn[extra,more] >=1.3,<2\nnumpy==1.26.4",
        "mlflow==2.9.2; python_version >= '3.8'\nnumpy==1.26.4 ; sys_platform == 'linux'\n"
        "scikit-learn[extra,more]>=1.3,<2\npywin32==306 ; sys_platform == 'win32'\n",
        "mlflow==2.9.2\nnumpy==1.26.4; python_version < '3.12'\n"
        "numpy==2.1; python_version >= '3.12'\nscikit-learn[extra,more]>=1.3,<2\n",
        "mlflow==2.9.2\nnumpy \\\n  ==1.26.4\nscikit-learn[extra,more]>=1.3,\\\r\n<2\n",
        "# in C:\\models\\\nmlflow==2.9.2\n # \\\nnumpy==1.26.4\nscikit-learn[extra,more]>=1.3,<2 \\",
        "\ufeffmlflow==2.9.2\nnumpy==1.26.4\nscikit-learn[extra,more]>=1.3,<2\n",
    ],
    ids=[
        "order",
        "crlf",
        "comments",
        "names",
        "markers",
        "alternatives",
        "continued",
        "backslash",
        "bom",
    ],
)
def test_spelling_of_requirements_does_not_change_the_digest(tmp_path: Path, text: str) -> None:
    plain = needs(tmp_path, PLAIN, python="3.11.7")
    found = needs(tmp_path, text, python="3.11.7")
    assert found.requirements == plain.requirements
    assert found.digest == plain.digest
    assert plain.requirements == (
        "mlflow==2.9.2",
        "numpy==1.26.4",
        "scikit-learn[extra,more]<2,>=1.3",
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_requirements_are_read_in_the_encodings_of_pip(tmp_path: Path, encoding: str) -> None:
    plain = needs(tmp_path, PLAIN, python="3.11.7")
    mark = "" if encoding in ("utf-8-sig", "utf-16") else "\ufeff"
    file = tmp_path / "model" / "requirements.txt"
    file.write_bytes((mark + PLAIN).encode(encoding))
    assert read_needs(file.parent, UV).digest == plain.digest


def test_each_thing_that_counts_changes_the_digest(tmp_path: Path) -> None:
    found = [
        needs(tmp_path, PLAIN, python="3.11.7"),
        needs(tmp_path, PLAIN, python="3.11.9"),
        needs(tmp_path, PLAIN, python="3.12.1"),
        needs(tmp_path, PLAIN, EnvManager.VIRTUALENV, python="3.11.7"),
        needs(tmp_path, PLAIN.replace("1.26.4", "1.26.3"), python="3.11.7"),
        needs(tmp_path, PLAIN + "pandas\n", python="3.11.7"),
        needs(tmp_path, PLAIN + "--extra-index-url https://a.example/simple\n", python="3.11.7"),
        needs(tmp_path, PLAIN + "--index-url https://a.example/simple\n", python="3.11.7"),
        needs(tmp_path, PLAIN.replace("==2.9.2", "==2.22.0"), python="3.11.7"),
        needs(tmp_path, PLAIN + "uvicorn==0.20\n", python="3.11.7"),
    ]
    assert len({one.digest for one in found}) == len(found)


def test_python_that_looks_like_a_number_stays_the_version_that_it_is(tmp_path: Path) -> None:
    assert needs(tmp_path, "numpy", python="3.10").python == "3.10"


def test_model_that_names_no_python_gets_that_of_the_controller(tmp_path: Path) -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert needs(tmp_path, "numpy").python == here


@pytest.mark.parametrize("python", ["three", "3", "3.11.7.1", "'>=3.8'"])
def test_python_that_is_no_version_is_refused_for_good(tmp_path: Path, python: str) -> None:
    with pytest.raises(BuildFailed, match="no version of Python") as raised:
        needs(tmp_path, "numpy", python=python)
    assert raised.value.permanent


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("numpy==1.0\nfoo bar baz\n", "foo bar baz"),
        ("numpy==\n", "numpy=="),
        ("\x00\x01binary\n", "binary"),
        ("-r more.txt\n", "more.txt"),
        ("numpy\n-r\n", "'-r' in requirements.txt: it names no file"),
        ("--requirement=\n", "it names no file"),
        ("-c \n", "'-c' in requirements.txt: it names no file"),
        ("--constraint # of MLflow\n", "it names no file"),
        ("-e\n", "it names no place"),
        ("--find-links\n", "it names no place"),
        ("--index-url --pre\n", "it names no place"),
        ("wheels/x-1-py3-none-any.whl\n", "wheels/x-1-py3-none-any.whl"),
        ("../outside.whl\n", "not below the model"),
        ("<<<<<<< HEAD\nnumpy==1\n", "<<<<<<< HEAD"),
        ("{'numpy': 1}\n", "{'numpy': 1}"),
    ],
)
def test_requirements_that_are_corrupt_are_refused_for_good_and_named(
    tmp_path: Path, text: str, named: str
) -> None:
    with pytest.raises(BuildFailed) as raised:
        needs(tmp_path, text)
    assert raised.value.permanent
    assert named in str(raised.value)


def test_yaml_that_is_corrupt_is_refused_for_good(tmp_path: Path) -> None:
    model = tiny_wheels.model(tmp_path, "numpy")
    (model / "python_env.yaml").write_text("python: [")
    with pytest.raises(BuildFailed, match=r"python_env\.yaml") as raised:
        read_needs(model, UV)
    assert raised.value.permanent


CONDA = (
    "channels:\n- conda-forge\ndependencies:\n- python=3.9.13\n- pip<=23.1\n- libgomp=12\n"
    "- pip:\n  - mlflow==1.20\n  - xgboost==1.7 # why\n"
)


def test_model_of_before_mlflow_1_26_has_conda_only(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {env: conda.yaml}}\n")
    (tmp_path / "conda.yaml").write_text(CONDA)
    found = read_needs(tmp_path, UV)
    assert (found.python, found.requirements) == ("3.9.13", ("mlflow==1.20", "xgboost==1.7"))
    assert found.build_dependencies == ("pip<=23.1",)
    assert found.left_out == ("libgomp",)


def test_conda_gets_all_of_its_file(tmp_path: Path) -> None:
    model = tiny_wheels.model(tmp_path, "mlflow==3.17.2\nother==1\n")
    (model / "conda.yaml").write_text(CONDA)
    found = read_needs(model, EnvManager.CONDA)
    assert found.conda_packages == ("libgomp=12", "pip<=23.1", "python=3.9.13")
    assert found.channels == ("conda-forge",)
    assert found.requirements == ("mlflow==1.20", "xgboost==1.7")
    assert not found.left_out
    (model / "conda.yaml").write_text("name: elsewhere\n" + CONDA)
    assert read_needs(model, EnvManager.CONDA).digest == found.digest
    (model / "conda.yaml").write_text(CONDA.replace("libgomp=12", "libgomp=13"))
    assert read_needs(model, EnvManager.CONDA).digest != found.digest


def test_mlmodel_may_name_its_files(tmp_path: Path) -> None:
    model = tiny_wheels.model(tmp_path, "numpy\n")
    (model / "MLmodel").write_text(
        "flavors: {python_function: {env: {conda: c.yaml, virtualenv: own.yaml}}}\n"
    )
    (model / "own.yaml").write_text("python: 3.12.1\ndependencies:\n- pandas==2.2\n")
    found = read_needs(model, UV)
    assert (found.python, found.requirements) == ("3.12.1", ("pandas==2.2",))


@pytest.mark.parametrize(
    ("text", "logged", "server"),
    [
        ("mlflow==3.17.2", "3.17.2", set()),
        ("numpy", "3.4.0", {"mlflow==3.4.0", "starlette<1"}),
        ("numpy", "3.4.1.dev0", {"mlflow"}),
        ("numpy", "", {"mlflow"}),
        ("mlflow-skinny==3.4.0", "3.4.0", {"mlflow==3.4.0", "starlette<1"}),
        ("mlflow==2.9.2", "2.9.2", {"setuptools<81"}),
        ("numpy", "2.9.2", {"setuptools<81", "mlflow==2.9.2"}),
        ("mlflow==2.9.2\nsetuptools==69", "2.9.2", set()),
        ("mlflow==2.20.4", "2.20.4", set()),
        ("mlflow==2.22.0", "2.22.0", {"starlette<1"}),
        ("mlflow==3.10.1", "3.10.1", {"starlette<1"}),
        ("mlflow==3.11.1", "3.11.1", set()),
        ("mlflow==2.22.0\nfastapi==0.115.0", "2.22.0", set()),
        ("mlflow>=2", "2.9.2", set()),
    ],
)
def test_server_gets_the_mlflow_of_the_model(
    tmp_path: Path, text: str, logged: str, server: set[str]
) -> None:
    found = needs(tmp_path, text, mlflow=logged)
    assert {*found.server} == server | {"httptools", "orjson", "threadpoolctl", "uvicorn", "uvloop"}
    assert {*found.server_least} == server


def test_packages_that_the_model_names_itself_are_not_added(tmp_path: Path) -> None:
    found = needs(tmp_path, "uvicorn==0.20\nORJSON\nmlflow==3.17.2\n")
    assert found.server == ("httptools", "threadpoolctl", "uvloop")


def test_signature_changes_with_the_files(tmp_path: Path) -> None:
    model = tiny_wheels.model(tmp_path, "numpy\n")
    before = signature(model)
    assert before == signature(model)
    (model / "requirements.txt").write_text("numpy==1\n")
    assert signature(model) != before
