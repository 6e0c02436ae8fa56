"""What docker-compose.yml, the dashboard and the systemd units say; tests/compose brings them up."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_deployment.core.domain import PortUsage, State
from model_deployment.core.endpoints import RolloutState
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.telemetry.prometheus import Snapshot, families

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BOARD = json.loads((ROOT / "monitoring/grafana/dashboards/model-deployment.json").read_text())
ALERTS = (ROOT / "docs/how-to/alerts.md").read_text()
PANELS: list[dict[str, Any]] = BOARD["panels"]
SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "info": ("_info",),
    "gauge": ("",),
}


def test_the_gateway_alone_is_published_and_has_a_way_out() -> None:
    assert {name for name, one in SERVICES.items() if "ports" in one} == {"gateway"}
    outside = {name for name, network in COMPOSE["networks"].items() if not network.get("internal")}
    assert {name for name, one in SERVICES.items() if outside & set(one.get("networks", ()))} == {
        "gateway"
    }
    for name, one in SERVICES.items():
        assert "networks" in one or one["network_mode"] == "none", name


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_few_rights_and_limits(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["logging"]["options"]["max-size"]
    # One that ends by itself is not started again.
    once = service["restart"] == "no"
    assert once or service["restart"] == "unless-stopped"
    assert once or service["stop_grace_period"]
    assert not re.search(r"docker\.sock|privileged", json.dumps(service))


def test_no_password_is_written_down() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN", variable):
                assert variable.endswith("_FILE") or re.fullmatch(r"\$\{\w+:-\}", value), name


def test_who_needs_another_waits_until_it_is_healthy() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            once = SERVICES[other]["restart"] == "no"
            expected = "service_completed_successfully" if once else "service_healthy"
            assert how["condition"] == expected, (name, other)


def test_dashboard_and_alerts_ask_for_metrics_that_there_are() -> None:
    nothing = Snapshot((), PortUsage(1, 1, 0, 0, ()), CaptureStatus(0, 0, 0, 0, ""), 0.0, True, {})
    told = {
        metric.name + suffix for metric in families(nothing) for suffix in SUFFIXES[metric.type]
    }
    for asking in (json.dumps(BOARD), ALERTS):
        assert set(re.findall(r"\bmodel_deployment_\w+", asking)) <= told


def test_dashboard_and_alerts_name_states_that_there_are() -> None:
    for asking in (json.dumps(BOARD).replace('\\"', '"'), ALERTS):
        for metric, states in (("state", State), ("rollout_state", RolloutState)):
            asked = re.findall(rf'model_deployment_{metric}{{[^}}]*state[=!~]+"([^"]+)"', asking)
            assert asked
            assert {name for names in asked for name in names.split("|")} <= {*states}


def test_the_dashboard_is_one_that_grafana_can_read() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    source = yaml.safe_load(
        (ROOT / "monitoring/grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"][0]
    variables = {one["name"] for one in BOARD["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"] == {"type": source["type"], "uid": source["uid"]}
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
            assert used <= variables


def test_prometheus_has_the_user_and_the_target_of_the_compose() -> None:
    job = yaml.safe_load((ROOT / "monitoring/prometheus.yml").read_text())["scrape_configs"][0]
    assert job["basic_auth"]["username"] == "prometheus"
    [host] = {target.partition(":")[0] for target in job["static_configs"][0]["targets"]}
    hosts = SERVICES[host]["environment"]["MODEL_DEPLOYMENT_ALLOWED_HOSTS"]
    assert host in hosts.split(",")


def test_a_restart_by_systemd_leaves_models_alone() -> None:
    unit = (ROOT / "systemd/model-deployment.service").read_text().splitlines()
    assert "KillMode=process" in unit
    assert "OOMPolicy=continue" in unit
    assert "PrivateTmp=false" in unit
    assert "Environment=MODEL_DEPLOYMENT_KEEP_MODELS=true" in unit
    assert not any(line.startswith("RuntimeDirectory=") for line in unit)


def test_a_controller_that_was_killed_is_started_again() -> None:
    unit = (ROOT / "systemd/model-deployment.service").read_text().splitlines()
    # Not after a bad setting, and without a limit: predictions go on, so nobody would notice.
    expected = {"Restart=on-failure", "RestartPreventExitStatus=2", "StartLimitIntervalSec=0"}
    assert expected <= {*unit}
    # A container ends with its first process, and everything in it as well.
    assert "SUPERVISE=true" in (ROOT / "Dockerfile").read_text()
