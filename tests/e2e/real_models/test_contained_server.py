"""The program of a launch's container, without the container: a real model behind the socket on offer."""

import asyncio
import http.client
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from model_deployment.runtime.container.folders import OFFER, SOCKET
from model_deployment.runtime.container.hand_over import HandOver
from model_deployment.worker import contained
from tests.support.controller_program import Program
from tests.support.row_wise_models import COLUMNS
from tests.support.waiting import until

#: The program of the container, with its two places as arguments.
_PROGRAM = """
import functools, sys
from model_deployment.worker import contained
contained.MODEL = sys.argv[2]
contained.take_socket = functools.partial(contained.take_socket, sys.argv[1])
sys.exit(contained.main())
"""
BODY = {"dataframe_split": {"columns": COLUMNS, "data": [[1.5, -2.0, 0.25], [0.0, 1.0, 2.0]]}}


async def test_it_answers_as_the_deployment_does(program: Program, tmp_path: Path) -> None:
    assert program.post("/deploy/pipeline/1?wait=120", json={}).status_code == 200
    expected = program.post("/pipeline-1", json=BODY).json()["predictions"]
    (model,) = (program.data / "models").glob("pipeline-1-*/model")
    (tmp_path / OFFER).mkdir()
    offered = HandOver(tmp_path)
    offer = tmp_path / OFFER / Path(contained.OFFER).name
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-c", _PROGRAM, str(offer), str(model),
        env={**os.environ, contained.WORKERS: "1", contained.TIMEOUT: "60"},
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await until(lambda: offered.done, timeout=60, what="somebody who takes the socket")
        status, answer = await asyncio.to_thread(ask, tmp_path / SOCKET)
        assert (status, answer["predictions"]) == (200, expected)
    finally:
        process.terminate()
        await offered.withdraw()
        await asyncio.wait_for(process.wait(), 30)


def ask(path: Path) -> tuple[int, Any]:
    client = http.client.HTTPConnection("localhost")
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.settimeout(90)
    with client.sock:
        client.sock.connect(str(path))
        client.request(
            "POST", "/invocations", json.dumps(BODY), {"Content-Type": "application/json"}
        )
        answer = client.getresponse()
        return answer.status, json.loads(answer.read())
