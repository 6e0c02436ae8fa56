"""The range of ports: used up, given back, and shared with strangers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil

from tests.support import audit
from tests.support.harness import HOST, Controller, Controllers
from tests.support.tools import at_once, pause
from tests.support.waiting import until_sync


class Liar(BaseHTTPRequestHandler):
    """Answers everything as a healthy model server would."""

    def answer(self) -> None:
        body = b'{"predictions": ["a lie"]}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815 - named by http.server

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def stranger(port: int) -> Iterator[None]:
    """A program that is not ours, on a port of the range."""
    with ThreadingHTTPServer((HOST, port), Liar) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def all_free(controller: Controller) -> bool:
    ports = controller.get("/ready")["ports"]
    size = controller.ports[1] - controller.ports[0] + 1
    return bool(ports["free"] == size and ports["leased"] == 0)


def test_one_deployment_more_than_ports_is_refused(controllers: Controllers) -> None:
    controller = controllers(ports=2).up()
    at_once(controller.deploy, ("stub-1", "stub-2"))
    problem = controller.deploy("stub-3", status=503)
    first, last = controller.ports
    assert f"cannot deploy stub-3: no free port in {first}-{last}" in problem["detail"]
    assert controller.get("/model/stub-3", 404)
    controller.deploy("stub-1")  # the same as before is no more than before
    controller.undeploy("stub-1")
    assert controller.deploy("stub-3")["state"] == "ready"


def test_of_too_many_deploys_at_once_as_many_as_ports_are_served(controllers: Controllers) -> None:
    controller = controllers(ports=3).up()
    answers = at_once(
        lambda version: controller.call("POST", f"/deploy/many/{version}"), range(1, 9)
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [503] * 5
    ports = {answer.json()["port"] for answer in answers if answer.status_code == 200}
    assert ports == set(range(controller.ports[0], controller.ports[1] + 1))


def test_a_full_range_is_served_and_adopted_and_the_next_one_is_refused(
    controllers: Controllers,
) -> None:
    controller = controllers(ports=12, PROBE_INTERVAL=5).up()
    controller.deploy("many-1")
    keys = [f"many-{version}" for version in range(1, 13)]
    before = {row["name"]: row for row in at_once(controller.deploy, keys)}
    assert len({row["port"] for row in before.values()}) == 12
    first, last = controller.ports
    problem = controller.deploy("many-13", status=503)
    assert f"no free port in {first}-{last}" in problem["detail"]
    controller.kill()
    controller.up()
    after = {row["name"]: row for row in controller.get("/get_deployed_models")}
    assert after == before
    for key in ("many-1", "many-6", "many-12"):
        assert controller.predict(key).json()["model"] == key
    controller.undeploy("many-7")
    assert controller.deploy("many-13")["port"] == before["many-7"]["port"]


def test_models_listen_on_loopback_only(controller: Controller) -> None:
    port = controller.deploy("wrapper-1")["port"]
    addresses = {
        connection.laddr.ip
        for connection in psutil.net_connections("tcp")
        if connection.laddr
        and connection.laddr.port == port
        and connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_a_port_of_a_stranger_is_skipped_and_reported(controllers: Controllers) -> None:
    controller = controllers(ports=3).up()
    first = controller.ports[0]
    with stranger(first):
        assert controller.deploy("stub-1")["port"] == first + 1
        (blocked,) = controller.get("/ready")["ports"]["blocked"]
        assert blocked["port"] == first
        assert "(pid " in blocked["holder"]
        assert controller.deploy("stub-2")["port"] == first + 2
        problem = controller.deploy("stub-3", status=503)
        assert "1 held by other programs" in problem["detail"]
        assert controller.predict("stub-1").json()["model"] == "stub-1"


def test_a_stranger_that_answers_health_checks_is_never_taken_for_a_model(
    controllers: Controllers,
) -> None:
    controller = controllers(START_TIMEOUT=2, TRIES=1, PORT_QUARANTINE=0).up()
    controller.deploy("never-ready-1", status=202, wait=0)
    port = controller.wait_for("never-ready-1", "starting")["port"]
    with stranger(port):
        until_sync(lambda: controller.row("never-ready-1")["state"] != "starting")
        row = controller.wait_for("never-ready-1", "failed")
        assert "not ready within 2 s" in row["reason"]
        states = {event["state"] for event in controller.events("never-ready-1")}
        assert "ready" not in states
        assert controller.deploy("stub-1")["port"] != port
        (blocked,) = controller.get("/ready")["ports"]["blocked"]
        assert blocked["port"] == port


def test_a_model_that_loses_its_port_to_a_stranger_gets_another_one(
    controllers: Controllers,
) -> None:
    controller = controllers().up()
    controller.deploy("slow-start-1", status=202, wait=0)
    port = controller.wait_for("slow-start-1", "starting")["port"]
    with stranger(port):
        row = controller.deploy("slow-start-1")
        assert row["port"] != port
        assert controller.predict("slow-start-1").json()["model"] == "slow-start-1"


def test_a_port_rests_before_it_is_used_again(controllers: Controllers) -> None:
    controller = controllers(ports=2, PORT_QUARANTINE=30).up()
    first = controller.deploy("stub-1")["port"]
    controller.undeploy("stub-1")
    assert controller.get("/ready")["ports"]["quarantined"] == 1
    assert controller.deploy("stub-1")["port"] == first + 1
    # A deploy that finds no port waits for one that rests.
    controller.undeploy("stub-1")
    pending = controller.deploy("stub-2", status=202, wait=0.5)
    assert "waiting for a free port" in pending["reason"]


def test_cycles_of_deploy_and_undeploy_leave_every_port_free(controllers: Controllers) -> None:
    controller = controllers(ports=8).up()
    controller.deploy("many-1")

    def cycle(key: str) -> None:
        for _ in range(2):
            controller.deploy(key)
            assert controller.predict(key).json()["model"] == key
            controller.undeploy(key)

    at_once(cycle, [f"many-{version}" for version in range(1, 7)])
    until_sync(lambda: all_free(controller), what="all ports to be free")
    assert audit.read_state(controller.state_db).leases == []
    assert controller.leftovers() == []


def test_ports_are_lowest_first(controllers: Controllers) -> None:
    controller = controllers(ports=4).up()
    first = controller.ports[0]
    assert controller.deploy("stub-1")["port"] == first
    assert controller.deploy("stub-2")["port"] == first + 1
    controller.undeploy("stub-1")
    pause(0.2)  # the quarantine
    assert controller.deploy("stub-3")["port"] == first
