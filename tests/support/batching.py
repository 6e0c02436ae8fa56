"""A batcher whose model answers when it is told to."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model_deployment.gate import MergeableTable, dumps, loads
from model_deployment.proxy.answers import UpstreamAnswer
from model_deployment.proxy.batch import Batcher, Join
from model_deployment.proxy.upstream import LaunchRemoved
from model_deployment.proxy.upstream_call import UpstreamRequest
from tests.support.gates import column, gate, param

GATE = gate(column("long"), column("double", "half"), params=[param("long", 0)])


def body(*markers: int, p: int | None = None) -> dict[str, Any]:
    """A request for some rows, each with its own marker. Merged ones are written in another form."""
    records = [{"a": marker, "half": marker / 2} for marker in markers]
    return {"dataframe_records": records} | ({"params": {"p": p}} if p is not None else {})


def table(*markers: int, p: int | None = None) -> MergeableTable:
    """The same, as the gate found it."""
    found = GATE.check(body(*markers, p=p)).table
    assert isinstance(found, MergeableTable)
    return found


def predicted(*markers: int) -> list[int]:
    """What a good model says of these rows."""
    return [-marker for marker in markers]


def given(answer: UpstreamAnswer) -> Any:
    """The predictions in an answer."""
    return loads(answer.content)["predictions"]


async def settle() -> None:
    """Let everybody go on who can."""
    for _ in range(12):
        await asyncio.sleep(0)


@dataclass(eq=False)
class Asked:
    """A call that has reached the model."""

    question: UpstreamRequest
    answer: asyncio.Future[UpstreamAnswer]

    @property
    def merged(self) -> bool:
        """Whether it was made by the batcher, and not by a caller."""
        return "dataframe_split" in loads(self.question.content)

    @property
    def rows(self) -> list[int]:
        """Its markers."""
        sent = loads(self.question.content)
        if "dataframe_records" in sent:
            rows = [(row["a"], row["half"]) for row in sent["dataframe_records"]]
        else:
            assert sent["dataframe_split"]["columns"] == ["a", "half"]
            rows = sent["dataframe_split"]["data"]
        assert all(half == marker / 2 for marker, half in rows), "cells of two rows were mixed"
        return [marker for marker, _ in rows]

    def says(self, content: Any, status: int = 200) -> None:
        """Answer it."""
        self.answer.set_result(UpstreamAnswer(status, [], dumps(content)))

    async def returns(self) -> None:
        """Answer it well, and let everybody go on."""
        self.says({"predictions": predicted(*self.rows)})
        await settle()

    async def fails(self, error: Exception) -> None:
        """End it without an answer."""
        self.answer.set_exception(error)
        await settle()


class Desk:
    """The batcher, its model, and what it told others."""

    def __init__(
        self,
        *,
        max_rows: int = 10,
        calls: int = 1,
        join: Join = GATE.join,
        queue_timeout: float = float("inf"),
    ) -> None:
        self.max_rows = max_rows
        self.asked: list[Asked] = []
        self.counted: list[int] = []
        self.told: list[str] = []
        #: The launch is over: nothing reaches it any more.
        self.gone = False
        self.batcher = Batcher(
            self._ask,
            join,
            max_rows=max_rows,
            max_calls=calls,
            queue_timeout=queue_timeout,
            on_turned_off=self.told.append,
            on_merged=self.counted.append,
        )

    async def _ask(self, question: UpstreamRequest) -> UpstreamAnswer:
        if self.gone:
            raise LaunchRemoved
        asked = Asked(question, asyncio.get_running_loop().create_future())
        self.asked.append(asked)
        return await asked.answer

    @property
    def open(self) -> list[Asked]:
        """Calls without an answer yet."""
        return [asked for asked in self.asked if not asked.answer.done()]

    @property
    def rows(self) -> list[list[int]]:
        """The markers in every call so far."""
        return [asked.rows for asked in self.asked]

    def caller(
        self, *markers: int, p: int | None = None, sent: Callable[[], None] = lambda: None
    ) -> asyncio.Task[UpstreamAnswer]:
        """Somebody who wants predictions; nothing has happened yet."""
        question = UpstreamRequest(dumps(body(*markers, p=p)), bytes)
        predict = self.batcher.predict(table(*markers, p=p), question, sent)
        return asyncio.create_task(predict)

    async def call(self, *markers: int, p: int | None = None) -> asyncio.Task[UpstreamAnswer]:
        """The same, and the call goes as far as it can."""
        task = self.caller(*markers, p=p)
        await settle()
        return task

    async def busy(self) -> Asked:
        """Keep the model busy with a call of its own."""
        await self.call(0)
        return self.asked[-1]
