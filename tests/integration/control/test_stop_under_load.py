"""SIGTERM while callers keep calling: nothing that could finish is lost.

``MODEL_DEPLOYMENT_TEST_ROUNDS`` says how often it is done; a hundred times take five minutes.
"""

import http.client
import json
import os
import random
import sys
import threading
from collections import Counter
from contextlib import closing, suppress

from tests.support.harness import HOST, Controller, Controllers
from tests.support.waiting import until_sync

ROUNDS = int(os.environ.get("MODEL_DEPLOYMENT_TEST_ROUNDS", "3"))
CALLERS = 12
BODY = json.dumps({"instances": [1]})


class Callers:
    """Threads that call as fast as they can, every other one on a new connection each time."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=[bool(number % 2)])
            for number in range(CALLERS)
        ]
        self.seen: Counter[str] = Counter()

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(20)

    def _call(self, stay: bool) -> None:
        while not self._ended.is_set():
            connection = http.client.HTTPConnection(HOST, self._controller.port, timeout=15)
            with closing(connection):
                try:
                    connection.connect()
                except OSError:
                    self.seen["not connected"] += 1
                    self._ended.wait(0.005)
                    continue
                with suppress(_NewOne):
                    while not self._ended.is_set():
                        self._ask(connection)
                        if not stay:
                            break

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.request("POST", "/stub-1", BODY, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.seen[f"lost: {error!r}"] += 1
            raise _NewOne from None
        self.seen[str(answer.status)] += 1
        if answer.headers.get("Connection") == "close":
            raise _NewOne


class _NewOne(Exception):
    """The connection is of no use any more."""


def test_nothing_that_could_finish_is_lost(controllers: Controllers) -> None:
    controller = controllers(KEEP_MODELS="true").up()
    controller.deploy("stub-1")
    total: Counter[str] = Counter()
    for _ in range(ROUNDS):
        with Callers(controller) as callers:
            until_sync(lambda: callers.seen["200"] > 200, what="calls")
            threading.Event().wait(random.uniform(0, 0.05))  # any moment of theirs
            assert controller.terminate() == 0
        total += callers.seen
        controller.up()
    controller.undeploy("stub-1")
    sys.stdout.write(f"{ROUNDS} rounds: {dict(total)}\n")
    assert not {what: number for what, number in total.items() if what.startswith("lost")}
    assert set(total) <= {"200", "503", "not connected"}
