"""What the requirements of a model name: packages and further files in its folder, or elsewhere."""

from pathlib import Path

import pytest

from model_deployment.core.options import EnvManager
from model_deployment.environments.environment import BuildFailed
from model_deployment.environments.needs import read_needs
from tests.support import tiny_wheels
from tests.support.model_needs import needs
from tests.support.tiny_wheels import wheel

UV = EnvManager.UV


def test_files_that_name_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="name each other"):
        needs(tmp_path, "-r requirements.txt\n")


def test_constraints_of_mlflow_are_constraints(tmp_path: Path) -> None:
    model = tiny_wheels.model(tmp_path, "mlflow\n-c constraints.txt\n", python="3.11")
    (model / "constraints.txt").write_text("numpy<2 # why\npywin32; sys_platform=='win32'\n")
    before = read_needs(model, UV)
    assert before.constraints == ("numpy<2",)
    (model / "constraints.txt").write_text("numpy<1\n")
    assert read_needs(model, UV).digest != before.digest


def test_wheels_of_the_model_count_by_their_content(tmp_path: Path) -> None:
    digests = set()
    for folder, text in (("a", ""), ("b", ""), ("c", "other = 1\n")):
        model = tiny_wheels.model(tmp_path / folder, "wheels/own-1.0-py3-none-any.whl\n")
        wheel(model / "wheels", "own", "1.0", files={"own/more.py": text})
        found = read_needs(model, UV)
        assert found.requirements == ("./wheels/own-1.0-py3-none-any.whl",)
        assert found.names == ("own",)
        digests.add(found.files[0][1])
    assert len(digests) == 2


def test_sources_of_the_model_are_installed_not_linked_to(tmp_path: Path) -> None:
    model = tiny_wheels.model(tmp_path, "-e ./code\n--find-links=wheels\n")
    wheel(model / "wheels", "own", "1.0")
    (model / "code").mkdir()
    (model / "code/pyproject.toml").write_text("[project]\nname='x'\nversion='1'\n")
    before = read_needs(model, UV)
    assert before.requirements == ("./code",)
    assert before.options == ("--find-links ./wheels",)
    (model / "code/pyproject.toml").write_text("[project]\nname='x'\nversion='2'\n")
    assert read_needs(model, UV).digest != before.digest


@pytest.mark.parametrize(
    "line",
    [
        "file:wheels/own-1.0-py3-none-any.whl",
        "file:./wheels/own-1.0-py3-none-any.whl#sha256=00",
        "own @ file:wheels/own-1.0-py3-none-any.whl",
        "Own@file:wheels/own%2D1.0-py3-none-any.whl ; python_version >= '3.8'",
        "own @ ./wheels/own-1.0-py3-none-any.whl",
    ],
)
def test_address_that_is_relative_is_in_the_models_folder(tmp_path: Path, line: str) -> None:
    model = tiny_wheels.model(tmp_path, f"{line}\n")
    wheel(model / "wheels", "own", "1.0")
    found = read_needs(model, UV)
    assert found.requirements == ("./wheels/own-1.0-py3-none-any.whl",)
    assert [path for path, _ in found.files] == ["wheels/own-1.0-py3-none-any.whl"]
    assert found.names == ("own",)


def test_package_behind_a_name_keeps_name_and_extras(tmp_path: Path) -> None:
    model = tiny_wheels.model(tmp_path, "My_Own[b] @ file:src\nabs @ file:///srv/abs-1.tar.gz\n")
    (model / "src").mkdir()
    found = read_needs(model, UV)
    assert found.requirements[0] == "./src[b]"
    assert found.requirements[1].endswith("@ file:///srv/abs-1.tar.gz")
    assert found.names == ("abs", "my-own")


def test_files_are_looked_for_beside_the_file_that_names_them(tmp_path: Path) -> None:
    model = tiny_wheels.model(tmp_path, "-r reqs/all.txt\n")
    wheel(model / "reqs/beside", "own", "1.0")
    wheel(model / "below", "own", "1.0")
    for name, text in (
        ("reqs/all.txt", "-r ../common.txt\n-r deep/more.txt\n-c limits.txt\n-f beside\n-f below"),
        ("reqs/deep/more.txt", "six\n"),
        ("reqs/limits.txt", "six<2\n"),
        ("common.txt", "numpy\n"),
        ("limits.txt", "six<1\n"),
    ):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(text)
    found = read_needs(model, UV)
    assert found.requirements == ("numpy", "six")
    assert found.constraints == ("six<2",)
    assert found.options == ("--find-links ./reqs/beside", "--find-links ./below")


@pytest.mark.parametrize(
    ("line", "there", "taken"),
    [
        ("-f ../wheels", "wheels", "wheels"),
        ("--find-links=../../wheels", "wheels", None),
        ("-f ../reqs/own", "reqs/own", "reqs/own"),
        ("-f own", "own", "own"),
        ("-f ./deep/../own", "reqs/own", "reqs/own"),
    ],
)
def test_links_are_checked_beside_the_file_that_names_them(
    tmp_path: Path, line: str, there: str, taken: str | None
) -> None:
    model = tiny_wheels.model(tmp_path, "-r reqs/base.txt\n")
    (model / there).mkdir(parents=True)
    (model / "reqs").mkdir(exist_ok=True)
    (model / "reqs/base.txt").write_text(f"{line}\nsix\n")
    if taken is None:
        with pytest.raises(BuildFailed, match="not below the model's folder"):
            read_needs(model, UV)
    else:
        assert read_needs(model, UV).options == (f"--find-links ./{taken}",)


def test_constraints_elsewhere_are_an_option_and_requirements_are_refused(tmp_path: Path) -> None:
    address = "https://a.example/c.txt"
    assert needs(tmp_path, f"six\n-c {address}\n").options == (f"--constraint {address}",)
    with pytest.raises(BuildFailed, match="have to be in the model's folder"):
        needs(tmp_path, f"-r {address}\n")


def test_options_in_one_line_are_several(tmp_path: Path) -> None:
    text = "-i https://a.example/x --no-index --find-links=/srv/a-b -e . --config-settings x=y\n"
    found = needs(tmp_path, text)
    assert found.options == (
        "--index-url https://a.example/x",
        "--no-index",
        "--find-links /srv/a-b",
    )
    assert found.requirements == ("./. --config-settings x=y",)


def test_short_options_in_one_line_need_no_space(tmp_path: Path) -> None:
    model = tiny_wheels.model(
        tmp_path, "-r a.txt -cb.txt -fmy-wheels -ihttps://a.example/x --pre\n"
    )
    wheel(model / "my-wheels", "own", "1.0")
    (model / "a.txt").write_text("six\n-rc.txt -e./src\n")
    (model / "b.txt").write_text("six<2\n")
    (model / "c.txt").write_text("numpy\n")
    (model / "src").mkdir()
    found = read_needs(model, UV)
    assert found.requirements == ("./src", "numpy", "six")
    assert found.constraints == ("six<2",)
    assert found.options == ("--find-links ./my-wheels", "--index-url https://a.example/x", "--pre")


@pytest.mark.parametrize(
    ("fragment", "kept"),
    [
        ("#egg=own", ""),
        ("#egg=own&subdirectory=python", "#subdirectory=python"),
        ("#subdirectory=python&egg=own", "#subdirectory=python"),
        ("", ""),
    ],
)
def test_editable_repository_keeps_its_folder(tmp_path: Path, fragment: str, kept: str) -> None:
    address = "git+https://a.example/own.git@v1"
    assert needs(tmp_path, f"-e {address}{fragment}\n").requirements == (f"{address}{kept}",)


def test_link_out_of_the_model_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("password\n")
    model = tiny_wheels.model(tmp_path / "model", "-r more.txt\n")
    (model / "more.txt").symlink_to(secret)
    with pytest.raises(BuildFailed) as raised:
        read_needs(model, UV)
    assert "password" not in str(raised.value)
