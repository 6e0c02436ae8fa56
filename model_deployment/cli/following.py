"""Waits for what a command has asked for, and shows what happens meanwhile."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from model_deployment.cli import launch_view
from model_deployment.cli.output import INTERRUPTED, answer_of, err
from model_deployment.cli.output import fail as end
from model_deployment.core.hints import with_advice

if TYPE_CHECKING:
    from model_deployment.client import Client

Row = Mapping[str, Any]

#: Seconds between two looks.
_EVERY = 0.5
#: Lines of a log that are fetched to find the new ones.
_LINES = 500


class Following:
    """A deployment on its way to a state.

    Args:
        order: ``deploy``, ``restart``, ``scale`` or ``park``.
        timeout: seconds after which it is left alone.
    """

    def __init__(self, client: "Client", name: str, order: str, *, timeout: float) -> None:
        self._client, self._name, self._order = client, name, order
        self._what = f"{order.removesuffix('e')}ing {name}"
        self._timeout = timeout
        self._launch, self._text = "", ""
        #: Whether it was being changed at the last look.
        self._changing = False

    def until(self, row: Row, done: Callable[[Row], bool], *, with_log: bool = True) -> Row:
        """Look until a deployment is as wanted, and print its progress and the lines of its log.

        Args:
            row: the deployment as the call that began it has answered.

        Ends the command with status 1 where the deployment fails or the time is over, and with that of an
        interrupted process after Ctrl-C.
        """
        began = time.monotonic()
        before = ""
        with self._left_alone(), err.status(escape(self._what)) as status:
            while not self._is_done(row, done):
                progress = _progress(row)
                if not err.is_terminal and progress != before:
                    err.print(f"{self._what}: {progress}")
                before = progress
                # The newest log is that of an earlier launch while this one waits, or starts beside it.
                earlier = is_changing(row) or (row["state"] == "pending" and not self._launch)
                if with_log and not earlier:
                    self._print_log()
                elapsed = time.monotonic() - began
                if elapsed >= self._timeout:
                    end(
                        f"cannot wait for {self._name} longer than {self._timeout:g} s ({progress}); it "
                        f"goes on: {_how_to_look(self._name)}"
                    )
                status.update(escape(f"{self._what}: {progress} ({elapsed:.0f} s)"))
                time.sleep(_EVERY)
                row = answer_of(lambda: self._client.deployment(self._name))
        return row

    @contextmanager
    def _left_alone(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            err.print(f"\n{self._name} goes on without this command; {_how_to_look(self._name)}")
            raise typer.Exit(INTERRUPTED) from None

    def _print_log(self) -> None:
        """The lines that the log has gained since the last look, on standard error."""
        from model_deployment.client.errors import ClientError

        try:
            log = self._client.logs(self._name, lines=_LINES)
        except ClientError:  # there is no launch yet, or this user may not read logs
            return
        text = log.text if log.launch_id != self._launch else appended(self._text, log.text)
        self._launch, self._text = log.launch_id, log.text
        for line in text.splitlines():
            err.print(f"  | {line}")

    def _is_done(self, row: Row, done: Callable[[Row], bool]) -> bool:
        if reason := failure(row, changing=self._changing):
            goes_on = "; the launch before serves on" if row["state"] != "failed" else ""
            end(with_advice(f"cannot {self._order} {self._name}: {reason}{goes_on}", reason))
        self._changing = is_changing(row)
        return done(row)


def is_changing(row: Row) -> bool:
    """Whether a second launch does not serve yet, and may still."""
    return bool((row.get("replacement") or {}).get("under_way"))


def failure(row: Row, *, changing: bool) -> str:
    """Why a deployment failed, or the change of it; else empty.

    Args:
        changing: whether it was being changed at the look before. A change that failed earlier stays in
            the answers, and does not concern this one.
    """
    if row["state"] == "failed":
        return str(row["reason"])
    change = row.get("replacement") or {}
    return str(change["reason"]) if changing and change.get("state") == "failed" else ""


def _shown(row: Row) -> Row:
    """The launch that is waited for."""
    found: Row = row["replacement"] if is_changing(row) else row
    return found


def _state(row: Row) -> str:
    return str(_shown(row)["state"])


def _progress(row: Row) -> str:
    reason = _shown(row)["reason"]
    if not is_changing(row):
        reason = launch_view.missing(row) or reason
    return f"{_state(row)}: {reason}" if reason else _state(row)


def _how_to_look(name: str) -> str:
    return (
        f"look with 'model-deployment logs {name} --follow' or 'model-deployment describe {name}'"
    )


def appended(before: str, after: str) -> str:
    """What a log has gained between two reads of its end."""
    last = before.splitlines(keepends=True)[-50:]
    position = after.rfind("".join(last)) if last else 0
    return after if position < 0 else after[position + len("".join(last)) :]
