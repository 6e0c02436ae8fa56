"""What all commands have in common, and those that show what a controller answers."""

import json
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from model_deployment import __version__
from model_deployment.cli import (
    completion,
    connection,
    controller,
    deployments,
    monitoring,
    predictions,
    registry,
)
from model_deployment.cli.main import app
from model_deployment.client import ApiError, Client, Report
from tests.support.answering_client import AT, DEPLOYED, Answering

REASONS = [{"severity": "error", "message": "rmse rose.", "advice": "Train again."}] * 9
COMPARED: dict[str, Any] = {
    "metrics": {
        "rmse": {"1": {"baseline": 2.0, "current": 2.5}, "2": {"baseline": 1.0, "current": None}}
    },
    "better": {"rmse": {"direction": "lower", "baseline": [2], "current": []}},
    "serving": {"1": {"requests": 7}, "2": {"requests": 0}},
    "unread": {},
    "sections": {
        "params": [
            {"name": "alpha", "values": {"1": "0.1", "2": "0.2"}, "differs": True, "better": []},
            {"name": "seed", "values": {"1": "7", "2": "7"}, "differs": False, "better": []},
        ]
    },
}


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Answering:
    client = Answering()
    for module in (controller, deployments, monitoring, predictions, registry):
        monkeypatch.setattr(module, "controller_at", lambda url: client)
    return client


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, [*arguments], input=stdin)


def commands(group: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    for child in getattr(group, "commands", {}).values():
        yield f"{name} {child.name}".strip(), child
        yield from commands(child, f"{name} {child.name}".strip())


def test_what_shows_something_can_show_it_as_json() -> None:
    without = {
        name
        for name, command in commands(typer.main.get_command(app))
        if not getattr(command, "commands", None)
        and not any("--json" in option.opts for option in command.params)
    }
    orders = {"serve", "demo", "backup", "restore", "move-registry", "open"}
    steering = {f"endpoint {name}" for name in ("set", "default", "delete")}
    # These print JSON anyway, or a file.
    as_it_is = {"predict", "predict-timeseries", "feedback", "export", "top"}
    users = {f"users {name}" for name in ("init", "add", "remove")}
    data = {f"datasets {name}" for name in ("report", "save", "delete")}
    flows = {
        "flows init",
        "flows serve",
        *(f"flows settings {n}" for n in ("check", "edit", "bring-back")),
    }
    devices = {"project delete", "device delete"}
    assert without == orders | steering | as_it_is | users | data | flows | devices


def test_help_waits_for_no_library_that_it_does_not_need() -> None:
    slow = (
        "httpx",
        "pydantic_settings",
        "fastapi",
        "mlflow",
        "pandas",
        "uvloop",
        "yaml",
    )
    program = (
        f"import sys, model_deployment.cli.main; print([n for n in {slow} if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
    assert run("-h").stdout == run("--help").stdout
    assert run("--version").stdout == f"model-deployment {__version__}\n"


def test_list_chooses_and_names_only_what_is_unusual(answering: Answering) -> None:
    failed = DEPLOYED | {"name": "iris-1", "model": "iris", "state": "failed", "reason": "it broke"}
    changing = DEPLOYED | {
        "name": "iris-2", "model": "iris",
        "replacement": {
            "state": "starting", "under_way": True, "reason": "launch", "purpose": "restart by ann"
        },
    }  # fmt: skip
    answering.answers["deployments"] = [DEPLOYED, failed, changing]
    _, *lines = run("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["wine-1", "iris-1", "iris-2"]
    assert lines[0].endswith("workers=2  -")
    assert lines[1].endswith("it broke")
    assert lines[2].endswith("restart by ann: starting: launch")
    chosen = run("list", "--model", "iris", "--state", "failed", "--json").stdout
    assert json.loads(chosen) == [failed]


def test_compare_marks_the_better_one_and_shows_what_differs(answering: Answering) -> None:
    answering.answers["compare"] = COMPARED
    lines = [
        " ".join(line.split()) for line in run("compare", "wine", "1", "2").stdout.splitlines()
    ]
    assert lines == [
        "METRIC VERSION 1 VERSION 2 BETTER",
        "rmse (baseline) 2 1 2",
        "rmse (current) 2.5 - -",
        "requests 7 0 -",
        "",
        "DIFFERENT VERSION 1 VERSION 2",
        "params: alpha 0.1 0.2",
    ]
    assert answering.asked == [("compare", ("wine", ["1", "2"]))]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("starting", "Being changed restart by ann: starting: why"),
        ("stopping", "Being changed restart by ann: stopping: why"),
        ("retiring", "Changed restart by ann; the launch before ends: why"),
        ("failed", "Change failed restart by ann: why"),
    ],
)
def test_describe_tells_a_change_that_is_over_from_one_under_way(
    answering: Answering, state: str, said: str
) -> None:
    more = ("advice", "url", "pid", "pss", "signature", "curl")
    change = {"state": state, "reason": "why", "purpose": "restart by ann"}
    answering.answers["deployment"] = DEPLOYED | dict.fromkeys(more) | {
        "created_at": AT, "serving": {"merging": None, "refused": 0}, "replacement": change,
    }  # fmt: skip
    lines = [" ".join(line.split()) for line in run("describe", "wine-1").stdout.splitlines()]
    assert said in lines


def test_report_tells_the_verdict_and_opens_the_page(
    answering: Answering, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    data: Any = {
        "id": "r1",
        "verdict": "degraded",
        "headline": "It is worse",
        "report": {"reasons": REASONS},
    }
    answering.answers["report"] = Report("wine-1", data, "<p>page")
    page = tmp_path / "page.html"
    done = run("report", "wine-1", "--open", "--html", str(page))
    address = "http://test/model/wine-1/degradation_report?id=r1"
    assert done.stdout.splitlines() == [
        "degraded: It is worse",
        *["  error: rmse rose. Train again."] * 8,
        "  … and 1 more on the page",
        f"report r1: {address}",
    ]
    assert (opened, page.read_text()) == ([address], "<p>page")


def test_status_fails_where_the_controller_does_not_work(answering: Answering) -> None:
    ready: dict[str, Any] = {
        "status": "stuck", "last_tick_seconds": 42.0, "deployments": {"ready": 2, "failed": 0},
        "ports": {"range": "8001-8100", "free": 98},
        "memory": {"available": 2**30, "total": 2**31},
        "captures": {"written": 1234, "dropped": 0, "dead": 1, "error": ""},
    }  # fmt: skip
    answering.answers |= {
        "version": {"model_deployment": "1.2", "mlflow": "3.0"},
        "ready": ApiError(503, ready),
    }
    done = run("status")
    assert done.exit_code == 1
    assert [line.split(maxsplit=1)[1] for line in done.stdout.splitlines()] == [
        "http://test is stuck for 42 s",
        f"model_deployment 1.2 (this command line: {__version__}), MLflow 3.0",
        "2 ready",
        "98 of 8001-8100 free",
        "1.0 GB of 2.0 GB available",
        "1,234 stored, 1 refused by the document store",
    ]
    answering.answers["ready"] = ready | {"status": "ready"}
    done = run("status", "--json")
    assert (done.exit_code, json.loads(done.stdout)["url"]) == (0, "http://test")


@pytest.mark.parametrize(
    ("arguments", "items"),
    [
        (["-"], [{"request_id": "a", "row": 1, "label": 2}]),
        (
            ["--request-id", "a", "--label", "2.5", "--label", "cat"],
            [
                {"request_id": "a", "row": 0, "label": 2.5},
                {"request_id": "a", "row": 1, "label": "cat"},
            ],
        ),
    ],
)
def test_feedback_takes_a_file_or_labels(
    answering: Answering, arguments: list[str], items: list[Any]
) -> None:
    answering.answers["feedback"] = {"matched": 1}
    done = run("feedback", "wine-1", *arguments, stdin="request_id,row,label\na,1,2\n")
    assert json.loads(done.stdout) == {"matched": 1}
    assert answering.asked == [("feedback", ("wine-1", items))]
    assert run("feedback", "wine-1").exit_code == 2


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("", "/dashboard"),
        ("wine-1", "/dashboard/deployments/wine-1"),
        ("wine@champion", "/dashboard/endpoints/wine@champion"),
        ("wine 2", "/dashboard/registry/wine%202"),
    ],
)
def test_open_finds_the_page(
    answering: Answering, monkeypatch: pytest.MonkeyPatch, name: str, path: str
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    done = run("open", *([name] if name else []))
    assert done.stdout == f"http://test{path}\n"
    assert "no browser" in done.stderr


def test_completion_has_the_controllers_names_and_is_silent_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = typer.Context(typer.main.get_command(app))
    context.params = {"url": "127.0.0.1:1", "model": "wine"}
    assert completion.deployments(context, "wi") == []
    monkeypatch.setattr(
        Client, "deployments", lambda self: [{"name": "wine-1"}, {"name": "iris-1"}]
    )
    monkeypatch.setattr(Client, "endpoints", lambda self: [{"name": "wine@champion"}])
    monkeypatch.setattr(Client, "versions", lambda self, model, limit: [{"version": 12}])
    assert completion.deployments_and_endpoints(context, "wi") == ["wine-1", "wine@champion"]
    assert completion.versions(context, "1") == ["12"]


def test_a_page_of_another_server_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = {"detail": "http://x answered 404 Not Found: nginx", "title": "Not Found"}
    monkeypatch.setattr(
        connection, "controller_at", lambda url: Answering(deployments=ApiError(404, problem))
    )
    monkeypatch.setattr(deployments, "controller_at", connection.controller_at)
    done = run("list")
    assert (done.exit_code, done.stderr) == (1, f"error: {problem['detail']}\n")
