"""Commands of the controller: named values, for example ``dark: true``.

A value is stored, written to ``values.json``, and given to the program of the device's owner. Each
command is answered once. A program that ran when the agent was killed runs again: it has to bear that.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
from collections.abc import Mapping
from typing import Any

from model_deployment_agent import outbox
from model_deployment_agent.clock import Clock
from model_deployment_agent.database import Database
from model_deployment_agent.errors import AgentError
from model_deployment_agent.folder import Folder, write_json
from model_deployment_agent.log_lines import safe
from model_deployment_agent.pipes import Printed

log = logging.getLogger(__name__)

#: Names of the protocol: one is the first argument of a program, and so no option of it.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
#: Characters of a value in JSON, and of an answer; names that have values.
MAX_VALUE, MAX_DETAIL, MAX_NAMES = 64 * 1024, 500, 1000
#: Commands whose numbers are remembered, so that none is answered twice.
REMEMBERED = 1000
#: Seconds in which what a program has said is read after its end.
_LAST_WORDS = 0.5


class Commands:
    """Takes commands one after the other."""

    def __init__(
        self,
        store: Database,
        folder: Folder,
        clock: Clock,
        told: outbox.Outbox,
        *,
        program: str | None,
        seconds: float,
    ) -> None:
        """
        Args:
            program: is run with the name and the value (JSON); None: no program.
            seconds: after which the program is ended.
        """
        self._store = store
        self._folder = folder
        self._clock = clock
        self._told = told
        self._program = program
        self._seconds = seconds
        self._came = asyncio.Event()

    def take(self, found: Mapping[str, Any]) -> None:
        """Store a command ``{"id", "name", "value"}``; one that is known is not stored again.

        Raises:
            AgentError: it cannot be stored.
        """
        number, name = found.get("id"), found.get("name")
        value = json.dumps(found.get("value"))
        if (
            type(number) is not int
            or not 0 < number < 2**53
            or not isinstance(name, str)
            or not _NAME.fullmatch(name)
        ):
            log.warning(
                "cannot take a command: its id or name is not usable: %.100r", (number, name)
            )
            return
        with self._store.transaction() as connection:
            if len(value) > MAX_VALUE:
                connection.execute(
                    "INSERT OR IGNORE INTO commands VALUES (?, ?, 'null', 0)", (number, "")
                )
            connection.execute(
                "INSERT OR IGNORE INTO commands (id, name, value) VALUES (?, ?, ?)",
                (number, name, value),
            )
            connection.execute(
                "DELETE FROM commands WHERE NOT answered AND id NOT IN"
                " (SELECT id FROM commands WHERE NOT answered ORDER BY id DESC LIMIT ?)",
                (REMEMBERED,),
            )
        self._came.set()

    def values(self) -> dict[str, Any]:
        """The values that hold now."""
        with self._store.transaction() as connection:
            rows = connection.execute(
                "SELECT name, value FROM command_values ORDER BY name"
            ).fetchall()
        return {name: json.loads(value) for name, value in rows}

    async def run(self) -> None:
        """Carry out commands, for ever."""
        while True:
            self._came.clear()
            with self._store.transaction() as connection:
                row = connection.execute(
                    "SELECT id, name, value FROM commands WHERE NOT answered ORDER BY id LIMIT 1"
                ).fetchone()
            if row is None:
                await self._came.wait()
                continue
            number, name, value = row
            ok, detail = await self._carry_out(name, value)
            self._answer(number, ok, detail)

    async def _carry_out(self, name: str, value: str) -> tuple[bool, str]:
        if not name:
            return (
                False,
                f"cannot take the value: it has more than {MAX_VALUE:,} characters of JSON",
            )
        try:
            with self._store.transaction() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO command_values VALUES (?, ?)", (name, value)
                )
                (names,) = connection.execute("SELECT count(*) FROM command_values").fetchone()
                if names > MAX_NAMES:
                    raise AgentError(f"{MAX_NAMES:,} names have values already")
            write_json(self._folder.values, self.values())
        except (AgentError, OSError) as error:
            return False, f"cannot keep the value: {error}"
        if self._program is None:
            return True, "stored"
        return await self._hook(self._program, name, value)

    async def _hook(self, program: str, name: str, value: str) -> tuple[bool, str]:
        printed, said = Printed(), bytearray()
        try:
            async with printed.pipe() as output:
                process = await asyncio.create_subprocess_exec(
                    program,
                    name,
                    value,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self._folder.path,
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            return False, f"cannot run {program}: {error}"
        reading = asyncio.create_task(_collect(printed.reader, said))
        try:
            async with asyncio.timeout(self._seconds):
                status = await process.wait()
            # What it has started in the background may go on, and hold the pipe.
            await asyncio.wait({reading}, timeout=_LAST_WORDS)
        except TimeoutError:
            return False, f"{program} did not end within {self._seconds:g} s, and was ended"
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            reading.cancel()
            printed.close()
        detail = safe(said.decode("utf-8", "replace").strip())[:MAX_DETAIL]
        return status == 0, detail or f"{program} ended with status {status}"

    def _answer(self, number: int, ok: bool, detail: str) -> None:
        now = self._clock.now()
        with self._store.transaction() as connection:
            outbox.put(
                connection, "answer", {"id": number, "ok": ok, "detail": detail[:MAX_DETAIL]}, now
            )
            connection.execute("UPDATE commands SET answered = 1 WHERE id = ?", (number,))
            connection.execute(
                "DELETE FROM commands WHERE answered AND id NOT IN"
                " (SELECT id FROM commands ORDER BY id DESC LIMIT ?)",
                (REMEMBERED,),
            )
        log.info("command %d: %s (%s)", number, "done" if ok else "failed", detail)
        self._told.changed.set()


async def _collect(source: asyncio.StreamReader, said: bytearray) -> None:
    """Read all, so that no program waits, and keep the beginning."""
    while piece := await source.read(4096):
        said += piece[: max(0, 4 * MAX_DETAIL - len(said))]
