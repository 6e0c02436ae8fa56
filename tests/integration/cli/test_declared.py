"""Deployments and endpoints that a file declares, and changes in place, against a running controller."""

import json
from pathlib import Path

from typer.testing import Result

from tests.support.command_line import run_here as run
from tests.support.harness import Controller

FILE = """\
deployments:
- {model: stub, version: 1, options: {workers: 2, idle_timeout: 12h}}
- {model: other, version: 2}
endpoints:
- name: stub@champion
  policy: {checks: {example: false}, canary: {steps: []}}
"""


def test_a_file_is_applied_once_and_changed_in_place(
    controller: Controller, tmp_path: Path
) -> None:
    file = tmp_path / "deployments.yaml"
    file.write_text(FILE)

    def declared(command: str, *more: str) -> Result:
        return run(controller, command, "-f", str(file), *more)

    assert declared("diff").exit_code == 1
    applied = declared("apply")
    assert (applied.exit_code, applied.stdout.splitlines()) == (
        0,
        [
            "+ deploy other-2",
            "+ deploy stub-1: workers 2; idle_timeout 43200",
            "+ make endpoint stub@champion: it is new",
            "3 done",
        ],
    )
    controller.wait_for("stub-2", "ready")  # the endpoint's own
    assert declared("diff", "--prune").exit_code == 0

    before = controller.row("stub-1")
    file.write_text(FILE.replace("{workers: 2, idle_timeout: 12h}", "{validation: observe}"))
    changed = declared("apply")
    assert (
        "~ change stub-1: workers 2 -> 1; validation strict -> observe; idle_timeout 43200 -> 0"
        in (changed.stdout)
    )
    after = controller.row("stub-1")
    assert (after["state"], after["options"]["workers"]) == ("ready", 1)
    assert after["pid"] != before["pid"]
    assert "Nothing to do" in declared("apply", "--prune").stdout

    exported = tmp_path / "exported.yaml"
    assert run(controller, "export", "-o", str(exported)).exit_code == 0
    assert run(controller, "diff", "-f", str(exported), "--prune").exit_code == 0

    file.write_text("deployments:\n- {model: stub, version: 1, options: {validation: observe}}\n")
    pruned = declared("apply", "--prune", "--yes")
    assert pruned.stdout == "- undeploy other-2: it is not in the file\n1 done\n"
    assert {row["name"] for row in controller.get("/get_deployed_models")} == {"stub-1", "stub-2"}


def test_orders_change_a_deployment_in_place(controller: Controller) -> None:
    first = controller.deploy("other-1")
    refused = run(controller, "deploy", "other", "1", "--workers", "2")
    assert "--workers is 1 there, not 2. Change them in place with --replace" in refused.stderr
    replaced = run(controller, "deploy", "other", "1", "--workers", "2", "--replace", "--json")
    assert json.loads(replaced.stdout)["options"]["workers"] == 2
    second = controller.row("other-1")
    restarted = run(controller, "restart", "other-1")
    assert restarted.stdout.startswith("other-1 is ready after ")
    assert len({first["pid"], second["pid"], controller.row("other-1")["pid"]}) == 3
    assert run(controller, "park", "other-1").stdout == "other-1 is parked\n"
    assert controller.row("other-1")["state"] == "parked"
    assert "parked: parked" in run(controller, "describe", "other-1").stdout
    heading, *launches = run(controller, "launches", "other-1").stdout.splitlines()
    assert heading.split()[:2] == ["LAUNCH", "STARTED"]
    assert len(launches) >= 3  # another test may have deployed it before
