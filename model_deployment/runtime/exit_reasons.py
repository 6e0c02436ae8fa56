"""How a launch ended, in words: from its exit status and the end of its log. Pure."""

import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from model_deployment.core.domain import Exit
from model_deployment.log.masking import mask
from model_deployment.worker import load_failures
from model_deployment.worker.load_failures import RaisedException

#: Characters of a reason that are taken from a log.
_LONGEST = 300
#: Lines of an exception's message that are shown.
_LINES = 8
#: Lines that may follow the exception that ended a process: an exception further up did not end it.
_LINES_AFTER = 30
_BEGIN = re.compile(
    r"^(?:[A-Z]+:\s+)?(?:Exception Group )?Traceback \(most recent call last\):\s*$"
)
_RAISED = re.compile(r"^([A-Za-z_][\w.]*)(?::(?:\s(.*))?)?$")
_CAUSED = "The above exception was the direct cause of the following exception:"
_DURING = "During handling of the above exception, another exception occurred:"
#: What ``mlflow models serve`` prints when its server has ended, with the exit status of the server.
_WRAPPER = re.compile(
    r"^Exception: Command .* returned non zero return code\. Return code = (-?\d+)$"
)
_PATH = re.compile(r"'([^']*)'$")
#: How Python prints an exception group: the outer level, and the exceptions in it.
_OUTER, _INNER = re.compile(r"^  [|+] (.*)"), re.compile(r"^\s+\| ([A-Za-z_][\w.]*(?::.*)?)$")
_FRAME = re.compile(r"^\s+[|+]")
_GROUP = "  + Exception Group Traceback (most recent call last):"
#: Lines that explain no end: the command line, parts of a traceback, warnings of Python.
_UNRELATED = re.compile(r"^\$ |^\s|^\S+:\d+: \w*Warning: ")
#: Added to the number of a signal in an exit status, as shells do.
_SIGNALLED = 128


@dataclass(frozen=True, slots=True)
class _Block:
    """A traceback in a log."""

    first: int
    #: The line with the exception.
    last: int
    raised: RaisedException
    #: The line that links it to the traceback before it, if any.
    link: str = ""


def of_status(code: int) -> Exit:
    """The end of a process with an exit status as Python has it, or as shells do."""
    if code >= 0:
        with suppress(ValueError):
            name = signal.Signals(code - _SIGNALLED).name
            return Exit(f"the process was killed by {name}", code)
        return Exit(f"the process exited with status {code}", code, code == load_failures.STATUS)
    try:
        return Exit(f"the process was killed by {signal.Signals(-code).name}", code)
    except ValueError:
        return Exit(f"the process was killed by signal {-code}", code)


def explain(gone: Exit, log: str, *, loading: bool, model: str) -> Exit:
    """The exit with a reason from the log.

    Args:
        log: the end of the log.
        loading: the launch was not ready yet: its model ended it, or something that the model needs.
        model: a part of the path of every file of the model.
    """
    if not loading and not (gone.code and gone.code > 0):
        return gone
    lines = _flatten_groups([line.rstrip() for line in log.splitlines()])
    blocks = [*_blocks(lines)]
    if blocks and (inner := _server_status(lines, blocks[-1])) is not None:
        lines = lines[: blocks.pop().first]
        if inner < 0:
            gone = of_status(inner)
    raised = loading and gone.code in (1, load_failures.STATUS) and blocks
    if raised and len([line for line in lines[blocks[-1].last + 1 :] if line]) <= _LINES_AFTER:
        chain = _chain(blocks)
        lasts = gone.permanent or load_failures.lasts(chain, model)
        return replace(gone, reason=_format_chain(chain), permanent=lasts)
    words = next((line for line in reversed(lines) if line and not _UNRELATED.match(line)), "")
    return replace(gone, reason=f"{gone.reason}: {_shorten(words.strip())}") if words else gone


def _server_status(lines: Sequence[str], block: _Block) -> int | None:
    """The exit status of the server, where the last exception is that of its wrapper."""
    found = _WRAPPER.match(lines[block.last])
    return int(found[1]) if found else None


def _format_chain(chain: Sequence[RaisedException]) -> str:
    """The last exception, and what it was raised from."""
    shown = [one for number, one in enumerate(chain[:2]) if number == 0 or one.caused]
    texts = (": ".join(filter(None, (one.names[0], " ".join(one.words.split())))) for one in shown)
    return ", from ".join(map(_shorten, texts))


def _flatten_groups(lines: list[str]) -> list[str]:
    """The lines with an exception group as one exception, and the exceptions in it as its message."""
    if _GROUP not in lines:
        return lines
    begin = len(lines) - 1 - lines[::-1].index(_GROUP)
    rest = []
    for line in lines[begin:]:
        if found := _OUTER.match(line) or _INNER.match(line):
            rest.append(found[1])
        elif not _FRAME.match(line):
            rest.append(line)
    return [*lines[:begin], *rest]


def _shorten(text: str) -> str:
    """What is shown to all who may see the deployment: without secrets, and short."""
    text = mask(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _chain(blocks: Sequence[_Block]) -> list[RaisedException]:
    """The exception that ended the process, and behind it those that led to it."""
    chain = [blocks[-1].raised]
    for block, before in zip(reversed(blocks), reversed(blocks[:-1]), strict=False):
        if not block.link:
            break
        chain.append(replace(before.raised, caused=block.link == _CAUSED))
    return chain


def _blocks(lines: Sequence[str]) -> Iterator[_Block]:
    begin = behind = None
    for number, line in enumerate(lines):
        if _BEGIN.match(line):
            begin = number
        elif begin is not None and line and not line.startswith((" ", "\t")):
            if (found := _RAISED.match(line)) is not None:
                words = _message(lines, number, found[2] or "")
                between = lines[slice(behind, begin)] if behind is not None else lines[:0]
                link = next((one for one in between if one in (_CAUSED, _DURING)), "")
                yield _Block(begin, number, _raised(found[1], words), link)
                behind = number + 1
            begin = None


def _message(lines: Sequence[str], number: int, words: str) -> str:
    text = [words]
    for line in lines[number + 1 : number + _LINES]:
        if not line or _BEGIN.match(line):
            break
        text.append(line)
    return "\n".join(text)


def _raised(kind: str, words: str) -> RaisedException:
    name = kind.rpartition(".")[2]
    path = _PATH.search(words.partition("\n")[0])
    # The base classes are not in a log; those of OSError's subclasses are known by name.
    return RaisedException((name,), words, path[1] if path else "")
