"""entrypoint.sh: what it says of an environment that cannot work, and what it becomes otherwise.

That it keeps a controller alive is tested in tests/integration/data_plane, with a real one.
"""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "entrypoint.sh"
URL = "MODEL_DEPLOYMENT_DOCUMENTS_URL"


class Box:
    """A data directory, and a ``model-deployment`` in PATH that tells what it was given."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.folder = folder
        (folder / "bin").mkdir()
        self.program(f'echo "$$ $* ${{{URL}-}}"')

    def program(self, script: str) -> None:
        """What ``model-deployment`` does."""
        program = self.folder / "bin" / "model-deployment"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.folder}/bin:/usr/bin:/bin",
            "MODEL_DEPLOYMENT_DATA_DIR": str(self.data),
        }
        self.process = subprocess.Popen(
            [SCRIPT, *arguments],
            env=environment | variables,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        out, err = self.process.communicate(timeout=30)
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, out, err)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_it_becomes_the_controller(box: Box) -> None:
    ended = box.run()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split() == [str(box.process.pid), "serve"]
    assert box.data.stat().st_mode & 0o777 == 0o700


def test_it_stays_where_it_is_to_keep_the_controller_alive(box: Box) -> None:
    ended = box.run(SUPERVISE="true")
    assert (ended.returncode, ended.stderr) == (0, "")
    pid, command = ended.stdout.split()
    assert (pid != str(box.process.pid), command) == (True, "serve")
    assert box.run("list", SUPERVISE="true").stdout.split() == [str(box.process.pid), "list"]


@pytest.mark.parametrize("status", [0, 1, 3])
def test_a_controller_that_ended_by_itself_is_not_started_again(box: Box, status: int) -> None:
    box.program(f"echo once; exit {status}")
    ended = box.run(SUPERVISE="true")
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "once\n", "")


def test_a_controller_that_was_killed_is_started_again(box: Box) -> None:
    box.program('echo "$$ $*"; [ -e once ] && exit 3; : >once; kill -KILL $$')
    ended = box.run("serve", "--port", "8001", SUPERVISE="true")
    assert (ended.returncode, ended.stdout.count(" serve --port 8001\n")) == (3, 2)
    assert "the controller was killed by signal 9; it is started again" in ended.stderr


def test_bad_settings_are_said_once(box: Box) -> None:
    ended = box.run(SUPERVISE="true", MLFLOW_TRACKING_URI="mlflow:5000")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)


def test_other_commands_pass_without_a_data_directory(box: Box) -> None:
    ended = box.run("list", "--json", MLFLOW_TRACKING_URI="nonsense")
    assert ended.stdout.split()[1:] == ["list", "--json"]
    assert not box.data.exists()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (URL, "mongo:27017", f"cannot use {URL}: write mongodb://"),
        (URL, "mongodb://", f"cannot use {URL}"),
        (f"{URL}_FILE", "/nowhere/url", "cannot read /nowhere/url"),
        ("MLFLOW_TRACKING_URI", "mlflow:5000", "cannot use MLFLOW_TRACKING_URI: write it with"),
        ("MLFLOW_TRACKING_URI", "http://mlflow:5000 ", "white space"),
        ("MLFLOW_REGISTRY_URI", "mlflow", "cannot use MLFLOW_REGISTRY_URI"),
        ("MODEL_DEPLOYMENT_DATA_DIR", "/proc/data", "cannot make the data directory /proc/data"),
        ("MODEL_DEPLOYMENT_HOST", "0.0.0.0", "docker compose run --rm controller users init"),
        ("MODEL_DEPLOYMENT_HOST", "::", "model-deployment users init"),
        ("MODEL_DEPLOYMENT_HOST", "", "model-deployment users init"),
        ("PATH", "/usr/bin:/bin", "cannot find the program model-deployment"),
    ],
)
def test_what_cannot_work_is_said(box: Box, name: str, value: str, said: str) -> None:
    ended = box.run("serve", **{name: value})
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: cannot ")
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_password_in_an_address_is_not_repeated(box: Box) -> None:
    for name in (URL, "MLFLOW_TRACKING_URI"):
        assert "s3cret" not in box.run("serve", **{name: "user:s3cret@host"}).stderr


def test_with_credentials_any_address_will_do(box: Box) -> None:
    (box.data / "credentials").mkdir(parents=True)
    (box.data / "credentials" / "operators.htpasswd").write_text("admin:x\n")
    assert box.run("serve", MODEL_DEPLOYMENT_HOST="0.0.0.0").returncode == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_the_loopback_needs_no_credentials(box: Box, host: str) -> None:
    assert box.run("serve", MODEL_DEPLOYMENT_HOST=host).returncode == 0


def test_the_address_of_mongodb_may_be_in_a_file(box: Box) -> None:
    file = box.folder / "url"
    file.write_text("mongodb://user:password@host/name\n")
    for command in ("serve", "backup"):
        ended = box.run(command, **{f"{URL}_FILE": str(file)})
        assert ended.stdout.split()[1:] == [command, "mongodb://user:password@host/name"]
    # What is given itself goes first.
    given = box.run("serve", **{f"{URL}_FILE": str(file), URL: "mongodb://other"})
    assert given.stdout.split()[1:] == ["serve", "mongodb://other"]


@pytest.mark.parametrize("what", ["MLFLOW_WEBHOOK_SECRET", "FLOWS_API_AUTH"])
def test_secrets_may_be_in_files(box: Box, what: str) -> None:
    name = f"MODEL_DEPLOYMENT_{what}"
    (file := box.folder / "secret").write_text("s3cret\n")
    box.program(f'echo "${{{name}-}}"')
    assert box.run("serve", **{f"{name}_FILE": str(file)}).stdout == "s3cret\n"
