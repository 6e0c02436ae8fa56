"""What docker-compose.yml, the dashboard and the systemd units say; tests/compose brings them up."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_deployment.core.devices import Presence
from model_deployment.core.domain import State
from model_deployment.core.endpoints import RolloutState
from model_deployment.core.port_usage import PortUsage
from model_deployment.core.releases import ReleaseState
from model_deployment.degradation.wording.verdict_words import Verdict
from model_deployment.recording.error_kinds import KINDS, OF_CALLERS
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.telemetry.prometheus import Snapshot, families
from tests.support.missing import missing

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BOARD = json.loads((ROOT / "monitoring/grafana/dashboards/model-deployment.json").read_text())
ALERTS = (ROOT / "monitoring/rules.yml").read_text()
RULE_TESTS = Path(__file__).with_name("alert_rules.test.yml")
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
    # The proxy before the engine has the engine's socket; see the next test.
    assert bool(re.search(r"docker\.sock", json.dumps(service))) == (name == "engine")
    assert "privileged" not in json.dumps(service)


def test_only_the_controller_reaches_the_proxy_that_has_the_socket_of_the_engine() -> None:
    having = [name for name, one in SERVICES.items() if "docker.sock" in json.dumps(one)]
    assert having == ["engine"]
    engine = SERVICES["engine"]
    assert engine["profiles"] == ["containers"]
    assert engine["networks"] == ["engine"]
    assert "ports" not in engine
    on_it = {name for name, one in SERVICES.items() if "engine" in one.get("networks", ())}
    assert on_it == {"controller", "engine"}
    assert COMPOSE["networks"]["engine"] == {"internal": True}


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


def test_the_profile_storage_reaches_everybody_who_has_to_know() -> None:
    """Compose passes what .env or the environment names, and not the profiles of its command line."""
    knowing = {name for name, one in SERVICES.items() if "PROFILES" in one.get("environment", {})}
    assert knowing == {"mlflow", "flows", "storage-keys"}
    for name in knowing:
        assert SERVICES[name]["environment"]["PROFILES"] == "${COMPOSE_PROFILES:-}"
    assert "storage.py" in (ROOT / "Dockerfile").read_text()
    assert "!docker/storage.py" in (ROOT / ".dockerignore").read_text()


def test_who_runs_code_of_others_reaches_no_store_but_its_own() -> None:
    networks = {name: {*one.get("networks", ())} for name, one in SERVICES.items()}
    having = {name: json.dumps(one.get("volumes", ())) for name, one in SERVICES.items()}
    assert not networks["controller"] & {"storage", "artifacts"}
    assert "storage-keys" not in having["flows"] + having["controller"]
    # The S3 store lets anybody in its network change its keys.
    assert {name for name, one in networks.items() if "artifacts" in one} == {
        "mlflow", "seaweedfs", "storage-prepare",
    }  # fmt: skip


def volumes_of(name: str) -> dict[str, str]:
    """Where a service mounts which volume or folder, by its name; without ``:ro``."""
    mounts = (re.sub(r"\$\{(\w+):-[^}]*\}", r"\1", one) for one in SERVICES[name]["volumes"])
    return {source: place for source, place, *_ in (mount.split(":") for mount in mounts)}


def test_experiments_read_only_what_is_theirs() -> None:
    """They are code of users: neither captures, models and state, nor the password of the documents."""
    theirs = volumes_of("flows")
    assert theirs == {
        "flows-data": "/data/flows",
        "training-data": "/data/training-data",
        "flows-auth": "/flows-auth",
        "prefect-key": "/prefect-key",
        "FLOWS_PROJECT": "/project",
    }
    # The data directory itself, which the image declares as a volume, is empty.
    assert any(one.startswith("/data:size=") for one in SERVICES["flows"]["tmpfs"])
    shared = {one: place for one, place in theirs.items() if one != "prefect-key"}
    assert shared.items() <= volumes_of("controller").items()
    made = [
        one
        for one, service in SERVICES.items()
        if "flows-auth:/flows-auth" in service.get("volumes", ())
    ]
    assert made == ["flows-password"]
    assert volumes_of("flows-password") == {"flows-auth": "/flows-auth"}
    holding = {
        one for one, service in SERVICES.items() if "secrets:/secrets" in json.dumps(service)
    }
    assert holding == {"controller", "mongodb", "mongodb-password"}


def test_the_image_has_a_folder_with_the_right_owner_for_each_of_its_volumes() -> None:
    lines = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    made = {*re.findall(r"/[\w/-]+", " ".join(re.findall(r"install --directory ([^&\n]*)", lines)))}
    ours = [one for one, service in SERVICES.items() if "build" in service and "volumes" in service]
    for name in ours:
        places = {place for one, place in volumes_of(name).items() if one in COMPOSE["volumes"]}
        assert places <= made, name


def test_the_s3_store_tells_nobody_and_opens_little() -> None:
    options = dict(one.lstrip("-").partition("=")[::2] for one in SERVICES["seaweedfs"]["command"])
    assert options["s3.config"]
    assert options["master.telemetry"] == "false"
    # Filer, master and volumes want no key. Other protocols of S3 are closed.
    assert options["ip.bind"] == "127.0.0.1"
    assert {name for name, value in options.items() if value == "0.0.0.0"} == {"s3.ip.bind"}
    assert options["s3.port.iceberg"] == options["s3.port.lance"] == "0"


def test_dashboard_and_alerts_ask_for_metrics_that_there_are() -> None:
    nothing = Snapshot((), PortUsage(1, 1, 0, 0, ()), CaptureStatus(0, 0, 0, 0, ""), 0.0, True, {})
    told = {
        metric.name + suffix for metric in families(nothing) for suffix in SUFFIXES[metric.type]
    }
    for asking in (json.dumps(BOARD), ALERTS):
        assert set(re.findall(r"\bmodel_deployment_\w+", asking)) <= told


def test_dashboard_and_alerts_name_states_that_there_are() -> None:
    for asking in (json.dumps(BOARD).replace('\\"', '"'), ALERTS):
        named = (("state", State), ("rollout_state", RolloutState), ("release_state", ReleaseState))
        for metric, states in named:
            asked = re.findall(rf'model_deployment_{metric}{{[^}}]*state[=!~]+"([^"]+)"', asking)
            assert asked
            assert {name for names in asked for name in names.split("|")} <= {*states}
        asked = re.findall(r'presence[=!~]+"([^"]+)"', asking)
        assert {name for names in asked for name in names.split("|")} <= {*Presence}


def test_alerts_fire_when_they_should() -> None:
    """By Prometheus' own test of rules."""
    tool = shutil.which("promtool")
    if tool is None:
        missing("promtool is not installed (Debian: apt-get install prometheus)")
    for arguments in (("check", "rules", "--lint-fatal", str(ROOT / "monitoring/rules.yml")),
                      ("test", "rules", str(RULE_TESTS))):  # fmt: skip
        done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_name_outcomes_verdicts_and_commands_that_there_are() -> None:
    for label, known in (("outcome", {"answered", *KINDS}), ("verdict", {*Verdict})):
        asked = re.findall(rf'{label}[=!~]+"([^"]+)"', ALERTS)
        assert asked
        assert {name for names in asked for name in names.split("|")} <= known
    [woken] = re.findall(r'outcome=~"([^"]*internal[^"]*)"', ALERTS)
    assert {*woken.split("|")} == {*KINDS} - OF_CALLERS
    commands = (ROOT / "docs/reference/command-line.md").read_text()
    for command in set(re.findall(r"model-deployment ((?:[a-z]+ )+)\{\{", ALERTS)):
        assert f"## model-deployment {command.strip()}\n" in commands


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
