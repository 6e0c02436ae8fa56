"""How a launch ended, in words: from its exit status, and from the end of its log. Pure."""

import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from model_deployment.core.domain import Exit
from model_deployment.log.masking import mask
from model_deployment.worker import load_failures
from model_deployment.worker.load_failures import RaisedException

#: Letters of a reason that are taken from a log.
_LONGEST = 300
#: Lines of a message that are taken, and lines of it and others that may follow what ended a process: some
#: messages are long, and what was written down long ago ended nothing.
_LINES, _BEHIND = 8, 30
_BEGIN = re.compile(
    r"^(?:[A-Z]+:\s+)?(?:Exception Group )?Traceback \(most recent call last\):\s*$"
)
_RAISED = re.compile(r"^([A-Za-z_][\w.]*)(?::(?:\s(.*))?)?$")
_CAUSED = "The above exception was the direct cause of the following exception:"
_DURING = "During handling of the above exception, another exception occurred:"
#: What ``mlflow models serve`` says when its server has ended; how that did stands at the end.
_WRAPPER = re.compile(
    r"^Exception: Command .* returned non zero return code\. Return code = (-?\d+)$"
)
_PATH = re.compile(r"'([^']*)'$")
#: How Python draws an exception that holds several ones, at its outer level; and within that.
_OUTER, _INNER = re.compile(r"^  [|+] (.*)"), re.compile(r"^\s+\| ([A-Za-z_][\w.]*(?::.*)?)$")
_FRAME = re.compile(r"^\s+[|+]")
_GROUP = "  + Exception Group Traceback (most recent call last):"
#: Lines that tell of no end: the command line, parts of a traceback, warnings of Python's.
_BESIDE = re.compile(r"^\$ |^\s|^\S+:\d+: \w*Warning: ")
#: A status beyond this one tells of a signal, as shells have it.
_SIGNALLED = 128


@dataclass(frozen=True, slots=True)
class _Block:
    """A traceback in a log."""

    first: int
    #: Of its lines, the one with the exception.
    last: int
    raised: RaisedException
    #: How it goes on from the one before it, if it does.
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
    """With what the log tells of it.

    Args:
        log: the end of it.
        loading: the launch was not ready yet: what ended it is its model, or what that needs.
        model: what the path of a file has in it that is among the model's own.
    """
    if not loading and not (gone.code and gone.code > 0):
        return gone
    lines = _ungrouped([line.rstrip() for line in log.splitlines()])
    blocks = [*_blocks(lines)]
    if blocks and (inner := _inner(lines, blocks[-1])) is not None:
        lines = lines[: blocks.pop().first]
        if inner < 0:
            gone = of_status(inner)
    raised = loading and gone.code in (1, load_failures.STATUS) and blocks
    if raised and len([line for line in lines[blocks[-1].last + 1 :] if line]) <= _BEHIND:
        chain = _chain(blocks)
        lasts = gone.permanent or load_failures.lasts(chain, model)
        return replace(gone, reason=_told(chain), permanent=lasts)
    words = next((line for line in reversed(lines) if line and not _BESIDE.match(line)), "")
    return replace(gone, reason=f"{gone.reason}: {_cut(words.strip())}") if words else gone


def _inner(lines: Sequence[str], block: _Block) -> int | None:
    """The status that the server had, where its wrapper tells of its end last."""
    found = _WRAPPER.match(lines[block.last])
    return int(found[1]) if found else None


def _told(chain: Sequence[RaisedException]) -> str:
    """The last exception, and what it was raised from."""
    text = ""
    for number, one in enumerate(chain[:2]):
        words = " ".join(one.words.split())
        line = _cut(f"{one.names[0]}: {words}" if words else one.names[0])
        if number == 0:
            text = line
        elif one.caused:
            text = f"{text}, from {line}"
    return text


def _ungrouped(lines: list[str]) -> list[str]:
    """With an exception group as any other exception, and those in it as its words."""
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


def _cut(text: str) -> str:
    """Of what a log says, as much as is shown: to everybody who may see the deployment."""
    text = mask(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _chain(blocks: Sequence[_Block]) -> list[RaisedException]:
    """What ended it, and behind it what led to that."""
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
                link = _link(lines[behind:begin]) if behind is not None else ""
                yield _Block(begin, number, _raised(found[1], words), link)
                behind = number + 1
            begin = None


def _message(lines: Sequence[str], number: int, words: str) -> str:
    """All of it, or its beginning."""
    text = [words]
    for line in lines[number + 1 : number + _LINES]:
        if not line or _BEGIN.match(line):
            break
        text.append(line)
    return "\n".join(text)


def _link(between: Sequence[str]) -> str:
    return next((line for line in between if line in (_CAUSED, _DURING)), "")


def _raised(kind: str, words: str) -> RaisedException:
    name = kind.rpartition(".")[2]
    path = _PATH.search(words.partition("\n")[0])
    # Of those that derive from OSError, the names are known that say so.
    return RaisedException((name,), words, path[1] if path else "")
