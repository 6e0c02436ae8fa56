"""The calls that show what a model has written, and which launches it had."""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field, TypeAdapter

from model_deployment.api.environment_schemas import BUILD
from model_deployment.api.examples import example
from model_deployment.api.monitoring import Until
from model_deployment.api.parameters import Key
from model_deployment.api.problems import problem
from model_deployment.api.times import parse_moment
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.control.controller import Controller
from model_deployment.core.domain import Deployment, Desired, State
from model_deployment.core.errors import InvalidRequest, NotFound
from model_deployment.core.launches import LaunchRecord, launches_of
from model_deployment.core.names import ModelKey
from model_deployment.core.replica_counts import launch_of_replica
from model_deployment.runtime.log_lines import LogLevel, LogLine, MessageFilter
from model_deployment.runtime.logs import search_in

#: The last lines of a launch's log that are wanted.
Search = Callable[[str, int, MessageFilter], list[LogLine]]
#: Has the log of a launch hold all that the launch has written.
Update = Callable[[str], Awaitable[None]]
#: Whether there is a log of a launch.
Exists = Callable[[str], bool]

_TEXT = "2026-11-29T03:04:55.310Z INFO:     Application startup complete.\n"
#: Newest events of a deployment that are looked at for its launches.
_EVENTS = 500


class LogLineOut(BaseModel):
    """A line of a log."""

    model_config = example(
        {"at": "2026-11-29T03:04:55.310Z", "level": "error", "text": "ValueError: no such key"}
    )

    at: str | None = Field(
        description="Time, ISO 8601 in UTC; of a line that was not written by Python, that of the line "
        "before. Null if an earlier release started the launch."
    )
    level: str | None = Field(
        description="`debug`, `info`, `warning` or `error`, where the line, or the message that it belongs "
        "to, tells."
    )
    text: str


class LaunchOut(BaseModel):
    """One start of a deployment's processes."""

    model_config = example(
        {
            "launch_id": "3f6d0c1a9b2e",
            "replica": 0,
            "started_at": "2026-11-29T03:00:01Z",
            "ready_at": "2026-11-29T03:00:02Z",
            "ended_at": "2026-11-29T03:04:56Z",
            "reason": "the process was killed by SIGSEGV",
        }
    )

    launch_id: str
    replica: int | None = Field(
        None,
        description="Number of its replica; null if an earlier release started it.",
    )
    started_at: datetime
    ready_at: datetime | None = Field(description="Null if it never was ready.")
    ended_at: datetime | None = Field(description="Null while it lives.")
    reason: str = Field(description="Why it ended, or why it is in its state.")

    @classmethod
    def of(cls, launch: LaunchRecord) -> "LaunchOut":
        return cls(**asdict(launch))


_LINES = TypeAdapter(list[LogLineOut])


@dataclass(frozen=True)
class LogCalls:
    """The handlers, and what they use."""

    controller: Controller
    search: Search
    exists: Exists
    update: Update
    #: The log of the build of a deployment's environment; None if there is none.
    build_log: Callable[[Deployment], Awaitable[Path | None]]

    async def get_logs(
        self,
        request: Request,
        name: Key,
        lines: Annotated[int, Query(ge=1, le=10_000, description="Number of last lines.")] = 100,
        launch: Annotated[
            str | None,
            Query(
                max_length=64,
                description="Id of an earlier launch, or `build`: the build of its environment. Default: "
                "the newest launch, and before there is one the build.",
            ),
        ] = None,
        replica: Annotated[
            int | None,
            Query(
                ge=0,
                le=9999,
                description="Number of a replica: its launch now, else its newest one.",
            ),
        ] = None,
        search: Annotated[
            str,
            Query(
                max_length=200,
                description="Only messages that contain this text, in upper or lower case. A message is a "
                "line with its traceback.",
            ),
        ] = "",
        level: Annotated[
            LogLevel | None, Query(description="Only messages of at least this level.")
        ] = None,
        since: Annotated[
            str | None,
            Query(
                description="Only messages from this time on: ISO 8601, or a duration before now such "
                "as `1h`."
            ),
        ] = None,
        until: Until = None,
        format: Annotated[Literal["text", "json"], Query(description="Form of the answer.")] = (
            "text"
        ),
    ) -> Response:
        """The end of the log of a launch. Each line of text begins with its time.

        With `If-None-Match`, 304 if the answer is the same: so a log is followed.
        """
        key = ModelKey.parse(name)
        launch_id = await self._launch(key, launch, replica)
        now = datetime.now(UTC)
        begin, end = (parse_moment(one, now) if one else None for one in (since, until))
        matches = MessageFilter(search, level, begin, end)
        found = await self._search(key, launch_id, lines, matches) if launch_id else []
        return _unless_known(_answer_of(found, format), launch_id, request)

    async def _search(
        self, key: ModelKey, launch_id: str, lines: int, matches: MessageFilter
    ) -> list[LogLine]:
        if launch_id == BUILD:
            path = await self.build_log(await self.controller.get(key))
            return await asyncio.to_thread(search_in, path, lines, matches) if path else []
        with contextlib.suppress(OSError):  # what was fetched before can be read
            await self.update(launch_id)
        return await asyncio.to_thread(self.search, launch_id, lines, matches)

    async def _launch(self, key: ModelKey, launch: str | None, replica: int | None) -> str:
        """The id of a launch whose log may be read; empty if there was none.

        Raises:
            NotDeployed: there is no such deployment.
            NotFound: it has no such launch, or no such replica.
            InvalidRequest: both are named.
        """
        if replica is not None:
            if launch is not None:
                raise InvalidRequest(
                    f"cannot read the log of launch {launch!r} and of replica {replica}: name one of them"
                )
            return await self._launch_of_replica(key, replica)
        if launch is None:
            return await self._newest(await self.controller.get(key))
        if launch == BUILD:
            return launch
        if launch not in {one.launch_id for one in await self._launches(key)}:
            raise NotFound(
                f"cannot read the log of launch {launch!r}: {key} has no log of such a launch; "
                f"GET /model/{key}/launches lists those that are kept"
            )
        return launch

    async def _newest(self, row: Deployment) -> str:
        """What has the newest log; empty if nothing has one."""
        launch_id = await self.controller.last_launch(row.key) or ""
        if row.launch_id is None and await self.build_log(row) is not None:
            # It waits for its environment, or that could not be built, since the launch before.
            waits = row.state is State.PENDING and row.desired is Desired.RUNNING
            if waits or not launch_id or not await asyncio.to_thread(self.exists, launch_id):
                return BUILD
        return launch_id

    async def _launch_of_replica(self, key: ModelKey, replica: int) -> str:
        row = await self.controller.get(key)
        if found := launch_of_replica(row, replica):
            return found
        kept = await self._launches(key)
        if found := next((one.launch_id for one in kept if one.replica == replica), None):
            return found
        numbers = ", ".join(str(one.replica) for one in row.serving) or "none now"
        raise NotFound(
            f"cannot read the log of replica {replica}: {key} has no log of it; its replicas are {numbers}"
        )

    async def get_launches(self, name: Key) -> Any:
        """The launches whose logs are kept, newest first."""
        return [LaunchOut.of(one) for one in await self._launches(ModelKey.parse(name))]

    async def _launches(self, key: ModelKey) -> list[LaunchRecord]:
        found = launches_of(await self.controller.events(key, _EVENTS))
        return await asyncio.to_thread(lambda: [one for one in found if self.exists(one.launch_id)])


def router(calls: LogCalls) -> APIRouter:
    """The routes of the calls."""
    routes = APIRouter(tags=["deployments"], route_class=StrictRoute)
    responses: dict[int | str, dict[str, Any]] = {
        404: problem("Not deployed, or no such launch"),
        422: problem("A parameter that cannot be used"),
    }
    text = {"text/plain": {"schema": {"type": "string"}, "example": _TEXT}}
    routes.get(
        "/model/{name}/logs",
        summary="The end of the log",
        response_model=list[LogLineOut],
        responses={200: {"content": text}, **responses},
    )(calls.get_logs)
    routes.get(
        "/model/{name}/launches",
        summary="The launches whose logs are kept",
        response_model=list[LaunchOut],
        responses=responses,
    )(calls.get_launches)
    return routes


def _answer_of(lines: Sequence[LogLine], form: Literal["text", "json"]) -> Response:
    if form == "json":
        shown = [LogLineOut(at=one.at, level=one.level, text=one.text) for one in lines]
        return Response(_LINES.dump_json(shown), media_type="application/json")
    return PlainTextResponse("".join(f"{line}\n" for line in lines).encode())


def _unless_known(answer: Response, launch_id: str, request: Request) -> Response:
    """The answer with its tag, or 304: a follower polls. Browsers must not store logs of operators."""
    tag = f'"{hashlib.sha256(answer.body).hexdigest()[:16]}"'
    headers = {"X-Launch-Id": launch_id, "ETag": tag}
    if request.headers.get("if-none-match", "").removeprefix("W/") == tag:
        return Response(status_code=304, headers=headers)
    answer.headers.update(headers)
    return answer
