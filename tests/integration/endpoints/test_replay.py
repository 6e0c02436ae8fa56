"""Candidates that are broken in one way each are stopped before a caller meets them; a good one is not.

The documents are in a real store, the models' files on disk, and the candidate answers over HTTP.
"""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from model_deployment.core.domain import Address
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.rollout_counts import StageCounts
from model_deployment.core.rollout_policy import Checks, GuardLimits
from model_deployment.documents.base import Collection, Documents
from model_deployment.documents.embedded import EmbeddedDocuments
from model_deployment.endpoints.findings import CandidateFinding, Outcome
from model_deployment.endpoints.replay.candidate_check import check_candidate
from model_deployment.endpoints.replay.examined_version import ExaminedVersion, examined
from model_deployment.endpoints.replay.replay import ReplayLimits, replay
from model_deployment.registry.mlmodel import MLmodelReader
from model_deployment.registry.mlmodel_cache import MLmodelCache
from tests.support.document_store_bench import START
from tests.support.examined import captured
from tests.support.gates import Spec, column
from tests.support.waiting import until

#: Predicts for each row, which is an object.
Model = Callable[[dict[str, Any]], Any]
COLUMNS = [column("long", "age"), column("double", "bmi", required=False)]
REQUESTS = 40


def failures_of(found: CandidateFinding) -> dict[str, int]:
    return StageCounts.from_dict(found.figures["counts"]).candidate.failures


def outcome(row: dict[str, Any]) -> float:
    return 2.0 * float(row["age"]) + 1.0


def champion(row: dict[str, Any]) -> float:
    """Wrong by one half in each row."""
    return outcome(row) + (0.5 if int(row["age"]) % 2 else -0.5)


def failing_for_some(row: dict[str, Any]) -> float:
    if row["age"] % 3 == 0:
        raise ArithmeticError
    return champion(row)


def off(row: dict[str, Any]) -> float:
    return champion(row) + 3.0 * (int(row["age"]) % 2)


@asynccontextmanager
async def served(model: Model) -> AsyncIterator[Address]:
    """A model server that answers as MLflow's does."""

    async def invocations(request: web.Request) -> web.Response:
        frame = (await request.json())["dataframe_split"]
        rows = [dict(zip(frame["columns"], row, strict=True)) for row in frame["data"]]
        try:
            text = json.dumps({"predictions": [model(row) for row in rows]})
        except ArithmeticError:
            return web.json_response({"error_code": "BAD_REQUEST"}, status=400)
        return web.Response(text=text, content_type="application/json")

    app = web.Application()
    app.router.add_post("/invocations", invocations)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield Address(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


class Scene:
    """A champion with captured requests, and a candidate to look at."""

    def __init__(self, documents: Documents, folder: Path, session: aiohttp.ClientSession) -> None:
        self.documents = documents
        self._folder = folder
        self._session = session
        self._description = MLmodelCache(MLmodelReader())
        self.limits = ReplayLimits(REQUESTS)

    async def version(
        self, number: int, specs: list[Spec], address: Address | None = None, example: Any = None
    ) -> ExaminedVersion:
        """A version whose files are on the disk."""
        folder = self._folder / str(number)
        folder.mkdir(exist_ok=True)
        signature = {"inputs": json.dumps(specs), "outputs": None, "params": None}
        (folder / "MLmodel").write_text(json.dumps({"signature": signature}))
        if example is not None:
            (folder / "serving_input_example.json").write_text(json.dumps(example))
        key = ModelKey("m", number)
        return await examined(self._description, folder, key, Options(), address)

    async def fill(self, *, labels: bool = True) -> None:
        """Requests of one to three rows that version 3 has answered, the newest with the highest ages."""
        three = await self.version(3, COLUMNS)
        for place in range(REQUESTS):
            rows = [{"age": place + more} for more in range(1 + place % 3)]
            said = [champion(row) for row in rows]
            document = captured(three, {"inputs": rows}, said, id=f"r{place}", at=1e9 + place)
            await self.documents.insert(Collection.CAPTURES, [document])
            if labels:
                await self.documents.insert(Collection.LABELS, [
                    {
                        "_id": f"m-3/r{place}#{number}", "model": "m", "version": 3, "ts": START,
                        "request_id": f"r{place}", "row": number, "label": outcome(row),
                    }
                    for number, row in enumerate(rows)
                ])  # fmt: skip

    async def replayed(
        self, model: Model, specs: list[Spec] = COLUMNS, **more: Any
    ) -> CandidateFinding:
        async with served(model) as address:
            return await replay(
                await self.version(4, specs, address),
                await self.version(3, COLUMNS),
                self.limits,
                self.documents,
                self._session,
                guard=GuardLimits(),
                **more,
            )

    async def checked(
        self, model: Model, specs: list[Spec] = COLUMNS, example: Any = None
    ) -> CandidateFinding:
        async with served(model) as address:
            return await check_candidate(
                await self.version(4, specs, address, example),
                await self.version(3, COLUMNS),
                Checks(),
                self.documents,
                self._session,
                timeout=5,
            )


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    documents = EmbeddedDocuments(tmp_path / "documents.db")
    await documents.open()
    async with aiohttp.ClientSession() as session:
        yield Scene(documents, tmp_path, session)
    await documents.close()


async def test_a_good_candidate_passes(scene: Scene) -> None:
    await scene.fill()
    found = await scene.replayed(outcome)
    assert found.outcome is Outcome.PASSED, found.reason
    assert found.figures["sent"] == found.figures["captured"] == REQUESTS
    assert failures_of(found) == {}
    assert found.figures["quality"]["candidate"] == 0


@pytest.mark.parametrize(
    ("model", "failures", "word"),
    [
        pytest.param(failing_for_some, "400", "failed", id="raises for some rows"),
        pytest.param(lambda row: math.nan, "", "without a prediction", id="NaN"),
        pytest.param(lambda row: math.inf, "", "without a prediction", id="infinity"),
        pytest.param(lambda row: [1.0, 2.0], "shape", "another shape", id="another shape"),
        pytest.param(lambda row: "high", "shape", "another shape", id="texts"),
        pytest.param(off, "", "is worse", id="worse"),
    ],
)
async def test_a_broken_candidate_is_stopped(
    scene: Scene, model: Model, failures: str, word: str
) -> None:
    await scene.fill()
    found = await scene.replayed(model)
    assert found.outcome is Outcome.FAILED, found.reason
    assert set(failures_of(found)) == ({failures} if failures else set())
    assert word in found.reason


async def test_requests_that_its_gate_refuses_are_not_sent(scene: Scene) -> None:
    await scene.fill()
    asked: list[Any] = []
    found = await scene.replayed(asked.append, [*COLUMNS, column("double", "bp")])
    assert found.outcome is Outcome.FAILED
    assert failures_of(found) == {"refused": 20}
    assert "ended after 20 failures" in found.reason
    assert not asked


async def test_a_column_that_it_newly_requires_is_found_by_the_check(scene: Scene) -> None:
    await scene.fill(labels=False)
    found = await scene.checked(outcome, [*COLUMNS, column("double", "bp")])
    assert found.outcome is Outcome.FAILED
    assert found.reason == (
        "version 4 requires the column bp, which 40 of 40 captured requests do not have"
    )


async def test_its_own_example_is_answered(scene: Scene) -> None:
    await scene.fill(labels=False)
    example = {"dataframe_split": {"columns": ["age", "bmi"], "data": [[3, 1.5]]}}
    found = await scene.checked(outcome, example=example)
    assert found.outcome is Outcome.PASSED, found.reason
    found = await scene.checked(failing_for_some, example=example)
    assert found.outcome is Outcome.FAILED
    assert found.reason.startswith("version 4 answered its own input example with status 400")


async def test_without_an_example_that_part_is_left_out_and_said(scene: Scene) -> None:
    await scene.fill(labels=False)
    found = await scene.checked(outcome)
    assert found.outcome is Outcome.PASSED
    assert "version 4 has no input example, so this check was left out" in found.reason


async def test_without_captured_requests_nothing_is_known(scene: Scene) -> None:
    found = await scene.replayed(outcome)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.reason.startswith("version 3 has no captured requests")


async def test_callers_go_first_and_the_time_is_bounded(scene: Scene) -> None:
    await scene.fill()
    scene.limits = replace(scene.limits, total=0.3)
    found = await scene.replayed(outcome, busy=lambda: True)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.figures["sent"] == 0
    assert "replay ended after 0.3 s; 40 captured requests were not sent" in found.reason


async def test_a_candidate_that_hangs_is_stopped(scene: Scene) -> None:
    await scene.fill()
    three = await scene.version(3, COLUMNS)
    limits = replace(scene.limits, each=0.05)
    hung = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hung.wait()
        writer.close()

    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        four = await scene.version(4, COLUMNS, Address(host, port))
        async with aiohttp.ClientSession() as session:
            found = await replay(four, three, limits, scene.documents, session, guard=GuardLimits())
        hung.set()
    assert found.outcome is Outcome.FAILED
    assert failures_of(found) == {"504": 20}


async def test_a_replay_that_was_cut_off_begins_anew(scene: Scene) -> None:
    await scene.fill()
    answered: list[float] = []

    def noting(row: dict[str, Any]) -> float:
        answered.append(outcome(row))
        return answered[-1]

    task = asyncio.create_task(scene.replayed(noting))
    await until(lambda: len(answered) >= 3, what="the first requests")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = await scene.replayed(outcome)
    assert found.figures["sent"] == REQUESTS
