"""Uploads of training data by callers of all kinds, against a controller behind proxies."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.controller_forks import ControllerForks
from tests.support.harness import HOST, Controller
from tests.support.income_project import HEADER, make_project
from tests.support.shared_controller import Shared
from tests.support.tools import check_problem
from tests.support.waiting import until_sync

LIMIT = 2_000_000


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, controller_forks: ControllerForks
) -> Iterator[Shared]:
    """One controller with a project, for the tests of this module."""
    folder = tmp_path_factory.mktemp("uploads")
    project = make_project(folder / "project")
    it = Shared(
        folder, "", controller_forks,
        PROXIES=1, FLOWS_PROJECT=project, FLOWS_PYTHON="/nowhere/python", MAX_UPLOAD_BYTES=LIMIT,
    )  # fmt: skip
    yield it
    problems = it.end()
    assert not problems, "\n".join(problems)


@pytest.fixture
def server(home: Shared) -> Iterator[Controller]:
    """It, as it was before: without what a refused upload would have left."""
    controller = home.get()
    yield controller
    until_sync(lambda: not left(controller), what="what is left of uploads to go")


def left(controller: Controller) -> list[Path]:
    return list((controller.data / "training-data").glob(".*"))


@contextmanager
def begun(controller: Controller, declared: int | None) -> Iterator[socket.socket]:
    """An upload of which the head has been sent, and a row; without one if its body has no length."""
    length = "Transfer-Encoding: chunked" if declared is None else f"Content-Length: {declared}"
    with socket.create_connection((HOST, controller.port), timeout=20) as line:
        line.sendall(
            f"POST /upload_data?experiment=income HTTP/1.1\r\nHost: {HOST}\r\n"
            f"Content-Type: text/csv\r\n{length}\r\n\r\n{rows(3) if declared else ''}".encode()
        )
        yield line


def rows(number: int) -> str:
    return HEADER + f"{number},=SUM(A1),>50K\n"


def upload(controller: Controller, content: Any, status: int, **more: Any) -> Any:
    params = {"experiment": "income", "run": "false"} | more.pop("params", {})
    more.setdefault("headers", {"Content-Type": "text/csv"})
    answer = controller.call("POST", "/upload_data", params=params, content=content, **more)
    assert answer.status_code == status, answer.text
    if status >= 400:
        check_problem(answer)
    return answer.json()


def test_a_file_is_kept_once_listed_sent_and_deleted(server: Controller) -> None:
    kept = upload(server, rows(1), 202, params={"name": "../ü.csv"})
    sha256 = kept["sha256"]
    assert (kept["rows"], kept["columns"], kept["name"], kept["run"]) == (1, 3, "ü.csv", None)
    assert upload(server, rows(1), 409)["sha256"] == sha256
    form = {"file": ("n.csv", rows(2), "text/csv")}
    answer = server.call("POST", "/upload_data?experiment=income&run=false", files=form)
    assert (answer.status_code, answer.json()["name"]) == (202, "n.csv")
    newest = answer.json()["sha256"]
    assert answer.headers["location"] == f"/datasets/{newest}"
    listed = [one["sha256"] for one in server.get("/datasets", experiment="income")]
    assert listed[:2] == [newest, sha256]
    first = server.call("GET", "/datasets?limit=1")
    assert [one["sha256"] for one in first.json()] == [newest]
    assert [one["sha256"] for one in server.call("GET", first.links["next"]["url"]).json()] == [
        sha256
    ]
    file = server.call("GET", f"/datasets/{sha256}/file")
    assert file.text == rows(1)
    assert file.headers["content-disposition"] == f'attachment; filename="income-{sha256[:12]}.csv"'

    def in_mlflow() -> Any:
        found = server.get(f"/datasets/{sha256}")
        assert found["mlflow"], "not there yet"
        return found

    found = until_sync(in_mlflow, timeout=60, what="the copy in MLflow")
    assert found["column_types"][0] == {"name": "age", "type": "int64"}
    assert (found["analyses"], found["models"]) == ({}, [])
    server.get(f"/datasets/{sha256}/report", 404, experiment="income")
    assert server.call("DELETE", f"/datasets/{sha256}").status_code == 204
    server.get(f"/datasets/{sha256}", 404)


def test_a_run_begins_with_a_file_which_stays_while_the_run_uses_it(server: Controller) -> None:
    kept = upload(server, rows(6), 202, params={"run": "true"})
    run = server.get(kept["run"]["place"])
    assert run["parameters"]["data"] == kept["sha256"]
    path = f"/datasets/{kept['sha256']}"
    refused = server.call("DELETE", path)
    assert (refused.status_code, kept["run"]["id"] in refused.text) == (409, True)
    server.post(f"{kept['run']['place']}/cancel", 200)
    assert server.call("DELETE", path).status_code == 204


def test_what_cannot_be_used_is_refused_and_leaves_nothing(server: Controller) -> None:
    found = upload(server, HEADER + "x,y,z\n", 422)
    assert found["errors"][0] == {
        "column": "age",
        "message": "the original data has numbers, but a value cannot be read so: row 1 has 'x'",
        "rows": [{"row": 1, "value": "x"}],
    }
    assert (
        "the project has income"
        in upload(server, rows(1), 422, params={"experiment": "x"})["detail"]
    )
    upload(server, rows(1), 415, headers={"Content-Type": "application/json"})
    upload(server, rows(1), 415, headers={"Content-Encoding": "gzip"})
    upload(server, rows(1), 415, headers={"Content-Type": "application/vnd.apache.parquet"})
    upload(server, b"", 422)


def test_more_than_the_limit_is_refused_before_it_has_come(server: Controller) -> None:
    upload(server, b"x" * (LIMIT + 9000), 413)
    with begun(server, 10_000_000_000) as line:
        assert line.recv(65536).startswith(b"HTTP/1.1 413 ")
    # Of a body without a length, no more is read than lets its sender see the answer.
    piece = b"10000\r\n" + b"1,2,3\n" * 10922 + b"1,2,\r\n"
    with begun(server, None) as line:
        line.sendall(piece * (LIMIT // 65536 + 1))
        assert line.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_broken_upload_leaves_nothing(server: Controller) -> None:
    before = server.get("/datasets")
    for end in (socket.SHUT_WR, socket.SHUT_RDWR):
        with begun(server, 100_000) as line:
            until_sync(lambda: left(server), what="the upload to begin")
            line.shutdown(end)
        until_sync(lambda: not left(server), what="what is left of it to go")
    assert server.get("/datasets") == before


def test_of_two_uploads_of_the_same_file_one_is_kept(server: Controller) -> None:
    def once(_: int) -> httpx.Response:
        with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
            return client.post(
                "/upload_data?experiment=income&run=false",
                content=rows(4),
                headers={"Content-Type": "text/csv"},
            )

    with ThreadPoolExecutor(3) as pool:
        answers = sorted(answer.status_code for answer in pool.map(once, range(3)))
    assert answers == [202, 409, 409]


def test_a_killed_controller_leaves_no_half_of_an_upload(server: Controller) -> None:
    with begun(server, 100_000):
        until_sync(lambda: left(server), what="the upload to begin")
        server.kill()
    assert left(server)
    server.up()
    assert not left(server)
