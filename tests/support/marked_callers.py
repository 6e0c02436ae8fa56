"""Callers that keep calling, each with values and request ids of its own, and look at each answer."""

import asyncio
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support.harness import HOST
from tests.support.waiting import until_sync


@dataclass(frozen=True, slots=True)
class Answer:
    """One prediction as a caller saw it."""

    caller: int
    number: int
    request_id: str
    #: Status of the answer; 0 if the connection was closed instead, -1 if there was none.
    status: int
    #: When it was asked and answered; the monotonic clock.
    asked: float
    answered: float
    detail: str = ""

    @property
    def seconds(self) -> float:
        return self.answered - self.asked


@dataclass
class MarkedCallers:
    """So many callers of one deployment, each on a connection of its own."""

    port: int
    key: str
    callers: int = 16
    #: Seconds that a caller waits before it connects again, after its connection was closed.
    pause: float = 0.01
    #: Seconds between an answer and the next request. Without any, a few callers keep a processor busy
    #: however long a test waits for something else.
    rest: float = 0.08
    #: The model tells its version as its name: it has to be the one in the header.
    by_version: bool = False
    answers: list[Answer] = field(default_factory=list)
    #: What no answer may be: the prediction or the id of another request.
    wrong: list[str] = field(default_factory=list)
    #: Answers by the version that answered.
    versions: Counter[str] = field(default_factory=Counter)
    #: Answers by their status.
    statuses: Counter[int] = field(default_factory=Counter)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._over = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        until_sync(lambda: self.good > 2 * self.callers, what="the first predictions")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over = True
        self._thread.join(60)

    @property
    def good(self) -> int:
        return self.statuses[200]

    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status != 200]

    def more(self, number: int = 100) -> None:
        """Wait until so many more predictions were answered."""
        wanted = self.good + number
        until_sync(lambda: self.good >= wanted, timeout=30, what="more predictions")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._call_all())
        self._loop.close()

    async def _call_all(self) -> None:
        await asyncio.gather(*(self._call(number) for number in range(self.callers)))

    async def _call(self, caller: int) -> None:
        number = 0
        while not self._over:
            try:
                reader, writer = await asyncio.open_connection(HOST, self.port)
            except OSError as error:
                now = time.monotonic()
                self._note(Answer(caller, number, "", -1, now, now, repr(error)))
                await asyncio.sleep(self.pause)
                continue
            try:
                while not self._over:
                    number += 1
                    if not await self._ask(caller, number, reader, writer):
                        break
                    await asyncio.sleep(self.rest)
            finally:
                writer.close()
            await asyncio.sleep(self.pause)

    async def _ask(
        self, caller: int, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request; False if the connection is of no use any more."""
        value, request_id = caller * 1_000_000 + number, f"caller-{caller}-{number}"
        body = json.dumps({"instances": [value]}).encode()
        head = (
            f"POST /{self.key} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
            f"X-Request-Id: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        asked = time.monotonic()
        status, detail, stays = 0, "", True
        try:
            async with asyncio.timeout(60):
                writer.write(head.encode() + body)
                raw = (await reader.readuntil(b"\r\n\r\n")).decode()
                lines = raw.lower().split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
                content = await reader.readexactly(int(headers["content-length"]))
            status, stays = int(lines[0].split()[1]), headers.get("connection") != "close"
            detail = "" if status == 200 else content.decode()
            if headers["x-request-id"] != request_id:
                self.wrong.append(f"{request_id} was answered as {headers['x-request-id']}")
            if status == 200 and json.loads(content)["predictions"] != [value]:
                self.wrong.append(f"{request_id} asked with {value}: {content!r}")
            if status == 200 and self.by_version:
                version = json.loads(content)["model"]
                self.versions[version] += 1
                if headers["x-model-version"] != version:
                    self.wrong.append(f"{request_id} was answered by {version}: {headers}")
        except (OSError, EOFError) as error:
            detail, stays = repr(error), False
        answered = time.monotonic()
        self._note(Answer(caller, number, request_id, status, asked, answered, detail))
        return stays

    def _note(self, answer: Answer) -> None:
        self.answers.append(answer)
        self.statuses[answer.status] += 1


def p99(answers: list[Answer]) -> float:
    """Seconds within which 99 % of the predictions were answered."""
    seconds = sorted(answer.seconds for answer in answers if answer.status == 200)
    return seconds[int(0.99 * (len(seconds) - 1))]
