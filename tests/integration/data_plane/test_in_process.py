"""A controller with its proxy in one event loop, that of the test."""

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from model_deployment.app import server
from model_deployment.app.components import StandIn
from model_deployment.settings import Settings
from tests.support.harness import HOST
from tests.support.ports import claim_ports
from tests.support.stub_controller import PROGRAM, stub_command
from tests.support.waiting import until


async def test_one_process_answers_everything(
    tmp_path: Path, registry_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "prepare_for_connections", lambda: None)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):  # other tests' registries
        monkeypatch.delenv(name, raising=False)
    first = claim_ports(4)
    settings = Settings(
        data_dir=tmp_path,
        port=first,
        ports=(first + 1, first + 3),
        proxies=0,
        mlflow_tracking_uri=registry_uri,
        mlflow_registry_uri=registry_uri,
        start_method="serve",
        memory_margin=0,
        stop_grace=1,
    )
    stand_in = StandIn(stub_command, str(PROGRAM))
    serving = asyncio.create_task(server.serve(settings, stand_in=stand_in))
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{first}", timeout=60) as client:

        async def ready() -> bool:
            if serving.done():
                serving.result()
            try:
                return (await client.get("/ready")).status_code == 200
            except httpx.TransportError:
                return False

        await until(ready, timeout=60, what="the controller")
        assert (await client.get("/health")).json() == {"status": "ok"}
        assert (await client.post("/deploy/stub/1", params={"wait": 60})).status_code == 200
        body = {"instances": [7]}
        for _ in range(3):
            answer = await client.post("/stub-1", json=body)
            assert (answer.status_code, answer.json()["predictions"]) == (200, [7])
        assert (await client.post("/stub-1", content=b"{", headers=JSON)).status_code == 400
        metrics = (await client.get("/model/stub-1/metrics")).json()
        assert metrics["serving"]["total"]["requests"] == 4
        page = (await client.get("/metrics")).text
        labels = 'model="stub",outcome="answered",version="1"'
        assert f"model_deployment_requests_total{{{labels}}} 3.0" in page
        assert (await client.post("/undeploy/stub-1")).status_code == 200
        assert (await client.post("/stub-1", json=body)).status_code == 404
        assert (await client.post("/nowhere", content=b"x" * 100_000)).status_code == 404
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(serving, 30)
        with pytest.raises(httpx.ConnectError):
            await client.get("/health")


JSON = {"Content-Type": "application/json"}
