"""Being in touch: lines that are cut, tokens that are no longer good, sockets that do not get through."""

import os
import signal

from tests.support.edge_controller import EdgeController
from tests.support.edge_device import EdgeDevice
from tests.support.waiting import until_sync


def _answers(edge: EdgeController) -> list[int]:
    return [int(data["id"]) for data in edge.messages("answer")]


def _gaps(edge: EdgeController) -> bool:
    """Whether a number of a stream is missing, or there twice."""
    streams: dict[str, list[int]] = {}
    for one in edge.stored:
        streams.setdefault(one["stream"], []).append(one["seq"])
    return any(found != list(range(1, len(found) + 1)) for found in streams.values())


def test_each_command_is_answered_once_over_cut_lines_and_a_killed_agent(
    edge: EdgeController, device: EdgeDevice
) -> None:
    device.start()
    for number in range(1, 41):
        edge.command(number, "dark", number % 2 == 0)
        if number % 10 == 0:
            edge.reconnect()
        if number == 25:
            device.kill()
            device.start()
    until_sync(lambda: len(set(_answers(edge))) == 40, timeout=40, what="all answers")
    assert sorted(_answers(edge)) == list(range(1, 41))
    assert not _gaps(edge)
    assert len({one["stream"] for one in edge.hellos}) == 1
    assert device.status()["values"] == {"dark": True}
    assert len(edge.hellos) >= 5


def test_not_more_than_64_messages_wait_for_an_acknowledgement(
    edge: EdgeController, device: EdgeDevice
) -> None:
    edge.acknowledges = False
    device.start()
    until_sync(lambda: device.status()["link"]["state"] == "connected", timeout=30)
    for number in range(1, 101):
        edge.command(number, "dark", number)
    until_sync(lambda: device.status()["values"].get("dark") == 100, timeout=60)
    until_sync(lambda: len(edge.stored) == 64)
    assert device.status()["health"]["unsent"] >= 100
    edge.acknowledges = True
    edge.drop()
    until_sync(lambda: len(_answers(edge)) == 100, timeout=60)
    assert not _gaps(edge)


def test_a_controller_that_was_restored_gets_a_new_stream_and_what_waits(
    edge: EdgeController, device: EdgeDevice
) -> None:
    edge.want(edge.signer.release(1))
    device.start("--watch", 0.2)
    device.until_running(1)
    edge.until_state(1, "running")
    edge.received.clear()
    edge.stored.clear()
    edge.command(1, "dark", True)
    edge.drop()
    until_sync(lambda: _answers(edge) == [1], timeout=60)
    assert len({one["stream"] for one in edge.hellos}) == 2
    assert edge.hellos[-1]["running"] == 1
    assert not _gaps(edge)


def test_a_token_that_is_no_longer_good_stops_neither_predictions_nor_a_new_enrolment(
    edge: EdgeController, device: EdgeDevice
) -> None:
    edge.want(edge.signer.release(1))
    device.start("--watch", 0.2)
    device.until_running(1)
    edge.token = "mdd_another"
    edge.drop(4401)
    until_sync(lambda: device.status()["link"]["state"] == "rejected", timeout=30)
    tried = len(edge.hellos)
    assert "no longer good; enrol it again" in device.log()
    assert device.predict() == [3.5]
    assert "say --again" in device.command(
        "enrol", edge.url, "hall", edge.code(), "--folder", device.folder, status=1
    )
    device.enrol("--again")
    until_sync(lambda: device.status()["link"]["state"] == "connected", what="the new token")
    assert len(edge.hellos) == tried + 1


def test_a_device_of_another_controller_knows_nothing_of_the_one_before(
    edge: EdgeController, device: EdgeDevice
) -> None:
    edge.want(edge.signer.release(9))
    device.start("--watch", 0.2)
    device.until_running(9)
    edge.command(1, "dark", True)
    until_sync(lambda: _answers(edge) == [1])
    edge.acknowledges = False
    assert device.predict() == [11.5]
    with EdgeController() as other:
        other.want(other.signer.release(1))
        device.controller = other
        said = device.enrol("--again")
        assert f"run --folder {device.folder}" in said
        edge.drop(1012)
        until_sync(lambda: "was enrolled anew" in device.log(), timeout=60)
        assert not other.hellos, "an agent that runs says nothing in the name of another identity"
        device.stop()
        device.start("--watch", 0.2)
        device.until_running(1)
        assert device.predict() == [3.5]
        assert other.hellos[0]["running"] is None
        assert device.status()["values"] == {}
        until_sync(lambda: "running" in [one["state"] for one in other.messages("progress")])
        assert {one["release"] for one in other.messages("progress")} == {1}
        assert not other.messages("answer")
        assert not _gaps(other)
    assert {one["stream"] for one in edge.hellos}.isdisjoint(one["stream"] for one in other.hellos)


def test_an_agent_whose_place_was_taken_waits(edge: EdgeController, device: EdgeDevice) -> None:
    device.start()
    until_sync(lambda: device.status()["link"]["state"] == "connected", timeout=30)
    edge.drop(4409)
    until_sync(lambda: device.status()["link"]["state"] == "offline", timeout=30)
    assert "another agent uses the token of this device" in device.log()


def test_where_sockets_do_not_get_through_calls_do(
    edge: EdgeController, device: EdgeDevice
) -> None:
    edge.refuse_sockets = 404
    edge.want(None)
    device.start("--watch", 0.2)
    until_sync(lambda: device.status()["link"]["state"] == "polling", timeout=60)
    assert edge.polls >= 1
    device.stop()
    edge.want(edge.signer.release(1))
    edge.command(1, "dark", {"level": 3})
    device.start("--watch", 0.2, "--poll", 0.2)
    device.until_running(1)
    edge.until_state(1, "running")
    until_sync(lambda: _answers(edge) == [1], timeout=30)
    assert device.status()["values"] == {"dark": {"level": 3}}
    edge.want(edge.signer.release(2))
    device.until_running(2)
    assert not _gaps(edge)
    assert edge.hellos == []


def test_a_controller_that_is_away_is_waited_for_and_nothing_is_lost(
    edge: EdgeController, device: EdgeDevice
) -> None:
    edge.want(edge.signer.release(1))
    device.start("--watch", 0.2, "--capture-rate", 1)
    device.until_running(1)
    edge.until_state(1, "running")
    edge.__exit__()
    until_sync(lambda: device.status()["link"]["state"] == "offline", timeout=30)
    for number in range(5):
        assert device.predict([number, 1.0]) == [number + 1.5]
    until_sync(
        lambda: device.status()["health"]["unsent"] > 0, timeout=60, what="captures in SQLite"
    )
    device.kill()
    device.start("--watch", 0.2, "--capture-rate", 1)
    until_sync(lambda: device.release() == 1, timeout=60, what="the model without a controller")
    with EdgeController(edge.signer, edge.port) as again:
        again.token, again.received, again.stored = edge.token, edge.received, edge.stored
        again.desired = edge.desired
        until_sync(lambda: len(_captured(again)) == 5, timeout=40, what="captures")
        assert sorted(_captured(again)) == [[float(number), 1.0] for number in range(5)]
        assert not _gaps(again)
        device.stop()


def _captured(edge: EdgeController) -> list[list[float]]:
    return [
        row for data in edge.messages("captures") for one in data["captures"] for row in one["rows"]
    ]


def test_a_frozen_agent_goes_on_with_a_new_connection(
    edge: EdgeController, device: EdgeDevice
) -> None:
    """As after a suspended laptop: the controller has given the connection up meanwhile."""
    device.start()
    until_sync(lambda: len(edge.pings) == 1)
    assert {"memory", "disk_free", "unsent"} <= edge.pings[0].keys()
    assert len(edge.pings[0]) <= 20
    os.kill(device.pid, signal.SIGSTOP)
    edge.drop()
    edge.command(1, "dark", True)
    os.kill(device.pid, signal.SIGCONT)
    until_sync(lambda: _answers(edge) == [1], timeout=60)
    assert len(edge.hellos) == 2
