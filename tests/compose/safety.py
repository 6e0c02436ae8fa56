"""What the compose promises to those who put it on a network."""

import http.client
import json
import re
import tempfile
from pathlib import Path

from tests.compose.service import MODEL
from tests.compose.stack import PROJECT, Stack

MONGO_WITHOUT_PASSWORD = """
import pymongo
client = pymongo.MongoClient("mongodb://mongodb:27017", serverSelectionTimeoutMS=3000)
client.model_deployment.captures.find_one()
"""
#: Processes of the container: number, owner, name.
PROCESSES = """
import os, pathlib
for path in pathlib.Path("/proc").glob("[0-9]*"):
    print(path.name, path.stat().st_uid, (path / "comm").read_text().strip())
"""


def refuses_without_users(stack: Stack) -> str:
    ended = stack.compose("run", "--rm", "controller", fine=False)
    said = ended.stdout + ended.stderr
    assert ended.returncode, said
    assert "docker compose run --rm controller users init" in said, said
    return "exit code 1, names `docker compose run --rm controller users init`"


def makes_users(stack: Stack) -> str:
    said = stack.compose("run", "--rm", "controller", "users", "init").stdout
    for name, password in re.findall(r"^(admin|caller|prometheus) +\w+ +(\S+)", said, re.M):
        stack.passwords[name] = password
    assert stack.passwords.keys() == {"admin", "caller", "prometheus"}, said
    again = stack.compose("run", "--rm", "controller", "users", "init", fine=False)
    assert again.returncode
    return "three users, random passwords; a second time it refuses"


def publishes_the_gateway_alone(stack: Stack) -> str:
    for name, one in stack.containers().items():
        published = {port for port, hosts in one["NetworkSettings"]["Ports"].items() if hosts}
        assert published == ({"8080/tcp", "8443/tcp"} if name == "gateway" else set()), (
            name,
            published,
        )
        networks = set(one["NetworkSettings"]["Networks"])
        assert (f"{PROJECT}_edge" in networks) == (name == "gateway"), (name, networks)
    edge = stack.containers()["gateway"]["NetworkSettings"]["Networks"][f"{PROJECT}_edge"][
        "IPAddress"
    ]
    for service, target in (
        ("gateway", "mongodb/27017"),
        ("gateway", "mlflow/5000"),
        ("mongodb", "mlflow/5000"),
        # Beyond its networks, as all the world is.
        ("controller", f"{edge}/8080"),
    ):
        knock = f"exec 3<>/dev/tcp/{target}"
        refused = stack.exec(service, "timeout", "3", "bash", "-c", knock, fine=False)
        assert not refused.startswith("0 "), (service, target)
    return "8080 and 8443; it reaches neither MongoDB nor MLflow, and nothing but it has a way out"


def runs_with_little_rights(stack: Stack) -> str:
    processes = [
        line.split() for line in stack.exec("controller", "python", "-c", PROCESSES).splitlines()
    ]
    assert next(name for pid, _, name in processes if pid == "1") == "tini"
    for service, one in stack.containers().items():
        host, user = one["HostConfig"], one["Config"]["User"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert host["Memory"], service
        assert host["PidsLimit"], service
        assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"]), (
            service
        )
        assert user not in {"", "0", "root"}, service
    owners = {owner for _, owner, _ in processes}
    assert owners == {"10001"}, processes
    return "no root, no capabilities, read-only, limits; controller and models: uid 10001, process 1 tini"


def wants_passwords(stack: Stack) -> str:
    expected = {
        ("", "GET", "/health"): 200,
        ("", "GET", "/get_deployed_models"): 401,
        ("", "POST", f"/{MODEL}"): 401,
        ("caller", "GET", "/get_deployed_models"): 200,
        ("caller", "POST", "/deploy/diabetes/1"): 403,
    }
    for (user, method, path), status in expected.items():
        got = stack.call(user, method, path).status
        assert got == status, (user, method, path, got)
    cross = stack.call("admin", "POST", "/deploy/diabetes/1", **{"Sec-Fetch-Site": "cross-site"})
    assert cross.status == 403, cross
    bare = stack.exec("controller", "python", "-c", MONGO_WITHOUT_PASSWORD, fine=False)
    assert "requires authentication" in bare, bare
    return "401 without, 403 for the wrong role and from another site; MongoDB refuses who has none"


def writes_logs(stack: Stack) -> str:
    secret = {
        *stack.passwords.values(),
        stack.grafana_password,
        stack.exec("mongodb", "cat", "/secrets/mongodb.password"),
    }
    for name, one in stack.containers().items():
        ended = stack.run(stack.docker, "logs", one["Id"])
        assert not [word for word in secret if word in ended.stdout + ended.stderr], name
    lines = stack.run(stack.docker, "logs", stack.container("gateway")).stdout.splitlines()
    asked = [json.loads(line) for line in lines if '"compose-59"' in line]
    assert [one["user"] for one in asked] == ["caller"], asked
    return "the gateway's are JSON lines with the request's id; no password is in any"


def speaks_tls(stack: Stack) -> str:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    stack.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
              "-addext", "subjectAltName=DNS:localhost", "-days", "2",
              "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt"))  # fmt: skip
    (folder / "tls.key").chmod(0o644)  # a key for a minute
    stack.certificates = folder
    stack.compose("up", "--detach", "--no-build", "gateway")
    stack.healthy("gateway")
    assert stack.call("caller", "GET", "/get_deployed_models").status == 200
    plain = http.client.HTTPConnection("localhost", stack.http, timeout=10)
    plain.request("GET", "/get_deployed_models")
    moved = plain.getresponse()
    assert (moved.status, moved.headers["Location"]) == (
        308,
        f"https://localhost:{stack.https}/get_deployed_models",
    )
    undeployed = stack.call("admin", "POST", f"/undeploy/{MODEL}")
    assert undeployed.json()["state"] == "stopped", undeployed
    return "with a certificate https answers, and http leads there; undeploy through it"
