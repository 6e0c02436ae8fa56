"""What pip, uv, conda and pyenv write: how far they are, and why they failed. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: How far a program is, by a line of its output.
_PROGRESS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        # uv
        (r"Resolved (\d+) packages? in .*", r"downloading \1 packages"),
        (r"Building ([\w.-]+(?:==\S+)?)(?: @ .*)?", r"building \1 from its source"),
        (r"Prepared (\d+) packages? in .*", r"installing \1 packages"),
        (r"Installed (\d+) packages? in .*", r"installed \1 packages"),
        # pip
        (r"Collecting ([^\s(]+).*", r"resolving \1"),
        (
            r"Downloading (?:\S*/)?([\w.]+)-(\d[^-\s]*?)(?:-\S*)?\.(?:whl|tar\.gz|zip) \(([\d.]+ \w+)\)",
            r"downloading \1 \2 (\3)",
        ),
        # uv again, which names the package only
        (r"Downloading ([\w.-]+) \(([\d.]+)\s*(\w+)\)", r"downloading \1 (\2 \3)"),
        (
            r"Building wheels? for (?:collected packages: )?([^\s(]+).*",
            r"building \1 from its source",
        ),
        # conda
        (r"Collecting package metadata.*|Retrieving notices.*", "reading the channels of conda"),
        (r"Solving environment.*", "resolving with conda"),
        (r"Downloading and Extracting Packages.*", "downloading packages of conda"),
        (r"(?:Preparing|Verifying|Executing) transaction.*", "installing packages of conda"),
        (r"Installing pip dependencies.*", "installing packages with pip"),
        # pyenv
        (r"Downloading (Python-\S+?)(?:\.tar\.\w+)?\.*", r"downloading \1"),
        (r"Installing (Python-\S+?)\.*", r"compiling \1"),
    )
)
_COLLECTED = re.compile(r"Installing collected packages: (.*)")


def progress(line: str) -> str:
    """What a line says of how far it is; empty if nothing."""
    text = line.strip()
    if match := _COLLECTED.fullmatch(text):
        return f"installing {len(match[1].split(','))} packages"
    for pattern, told in _PROGRESS:
        if match := pattern.fullmatch(text):
            return match.expand(told)
    return ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a program failed."""

    text: str
    #: Whether another try would end the same way.
    permanent: bool
    #: Whether no versions of packages go together, or there are none.
    unsatisfiable: bool = False
    #: Whether that may be because an index answered with an error, of which pip writes into its log alone.
    uncertain: bool = False


#: Characters that are told.
_TOLD = 1200
_DISK = re.compile(
    r"no space left on device|os error 28\b|errno 28\b|disk quota exceeded|NoSpaceLeft",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"permission denied|os error 13\b|errno 13\b|read-only file system|os error 30\b", re.IGNORECASE
)
_NETWORK = re.compile(
    r"failed to fetch(?! (?:branch|tag|commit|ref))|request failed after|error sending request"
    r"|dns error|client error|connect error"
    r"|connection (?:refused|reset|broken|error|failed)|connectionerror|timed? ?out|stream error"
    r"|temporary failure in name|newconnectionerror|name or service not known|network is unreachable"
    r"|network (?:was|is) (?:disabled|down)|certificate verify failed|invalid peer certificate|sslerror"
    r"|proxyerror|condahttperror|http error:? [45]\d\d|status code:? 5\d\d|incompleteread"
    r"|\b(?:40[137]|429|5\d\d) (?:client|server) error|could not fetch url|\((?:40[137]|429|5\d\d) [A-Z]"
    r"|returned an? (?:40[137]|429|5\d\d)|too many (?:429|5\d\d) error"
    # git
    r"|could not resolve (?:host|proxy)|couldn't connect to server|failed to connect to"
    r"|returned error: (?:40[137]|429|5\d\d)|remote end hung up|early eof|rpc failed",
    re.IGNORECASE,
)
#: The other side answered, and has no such file, or no such revision.
_NOT_THERE = re.compile(
    r"\b(?:404|410) (?:not found|gone|client error)|http error:? (?:404|410)|returned error: (?:404|410)"
    r"|couldn't find remote ref|did not match any file|not our ref|reference is not a tree",
    re.IGNORECASE,
)
_UNSATISFIABLE = re.compile(
    r"no solution found|requirements are unsatisfiable|resolutionimpossible|conflicting dependencies"
    r"|no matching distribution found|could not find a version|unsatisfiableerror|resolvepackagenotfound"
    r"|packagesnotfounderror|requires a different python|not available from current channels",
    re.IGNORECASE,
)
_MEMORY = re.compile(r"memory allocation of \d+ bytes failed|cannot allocate memory|MemoryError")
_UNREAD = re.compile(r"Could not fetch URL (.*?)(?: - skipping)?$")
#: Where an explanation begins.
_BEGINS = re.compile(
    r"\s*(?:\xd7|error:|ERROR:|\S*Error:|CondaError|BUILD FAILED|PackagesNotFoundError"
    r"|ResolvePackageNotFound|Pip subprocess error|fatal:|ssh:|virtualenv: error)",
)
#: What repeats, advises, or is a trace of the tool itself.
_NOISE = re.compile(
    r"\s*(?:$|\[notice\]|WARNING: (?:Location|Running pip as|Retrying)|note:|Looking in |warning: "
    r"|hint: (?:Build|See|This)|To fix this you could|\d\. (?:loosen|remove) |\[end of output\]"
    r"|\[std(?:out|err)\]|File \"|[~^ ]+$|Traceback \(most|╰─> (?:See above|\[)|(?:│ )?exit code: "
    r"|--- std(?:out|err)$|╰─> No available output"
    r"|INFO: pip is looking|Using (?:Python|CPython)|Requirement already"
    r"|(?:Processing|Collecting|Downloading) )"
)
#: Signs that draw a tree, and words that only say that there is an error.
_TREE = re.compile(r"[\xd7│├╰─▶>]+\s+|^\s*(?:cause|error|ERROR): ")
_OF_PIP = "subprocess-exited-with-error"
_PACKAGE_OF_PIP = re.compile(
    r"\s*(?:Collecting|Processing|Building wheels? for(?: collected packages:)?) ([^\s(]+?):?(?=[\s(]|$)"
)
_RAISED = re.compile(
    r"\s*[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Warning): .+|\s*fatal error: .+"
)


def explain(lines: Sequence[str], code: int) -> Explanation:
    """The lines that matter of a program that failed, as one line.

    Args:
        lines: its output, without colours.
        code: its exit status; minus the signal that ended it.
    """
    text = "\n".join(lines)
    told = _matters(lines) or "it wrote nothing"
    if _DISK.search(text):
        return Explanation(f"no space is left on the disk: {told}", permanent=False)
    if code < 0 or code in (137, 143):
        number = -code if code < 0 else code - 128
        return Explanation(
            f"it was ended by signal {number}; last it wrote: {told}", permanent=False
        )
    if _MEMORY.search(text):
        return Explanation(told, permanent=False)
    unsatisfiable = bool(_UNSATISFIABLE.search(text))
    # pip says that there is no such package when it could not ask; uv has the network's error instead.
    outside = _of_network(lines)
    if _NETWORK.search(outside) and not _NOT_THERE.search(outside):
        return Explanation(_with_network(lines, told), permanent=False)
    if _DENIED.search(text):
        return Explanation(told, permanent=False)
    uncertain = "(from versions: none)" in text
    return Explanation(told, permanent=True, unsatisfiable=unsatisfiable, uncertain=uncertain)


def unread_page(lines: Iterable[str]) -> str:
    """Of pip's log, why a page of an index could not be read; empty if all were, or are not there."""
    for line in lines:
        match = _UNREAD.search(line)
        if match and _NETWORK.search(match[0]) and not _NOT_THERE.search(match[0]):
            return _tidy(match[1])
    return ""


def _of_network(lines: Sequence[str]) -> str:
    """The lines that may tell of the network: not those of the program that builds a package."""
    outside: list[str] = []
    inside = False
    for line in lines:
        if re.match(r"\s+\[(?:stdout|stderr|\d+ lines? of output)\]|.*╰─> \[\d+ lines", line):
            inside = True
        elif inside and (not line.startswith("  ") or "[end of output]" in line):
            inside = False
        if not inside:
            outside.append(line)
    return "\n".join(outside)


def _with_network(lines: Sequence[str], told: str) -> str:
    if _NETWORK.search(told):
        # Each layer of a network library adds a line. What was asked for comes first, why not last.
        parts = [one for one in told.split(" / ") if not one.startswith("hint: ")]
        hints = [one for one in told.split(" / ") if one.startswith("hint: ")]
        reasons = [one for one in parts[2:] if _NETWORK.search(one)] or parts[2:]
        return " / ".join([*parts[:2], *reasons[-1:], *hints])
    found = [one for one in lines if _NETWORK.search(one)]
    # pip writes the objects of its library.
    why = _tidy(re.sub(r"<[^<>]* at 0x[0-9a-f]+>:? ?", "", found[-1])) if found else ""
    if match := re.search(r"connection broken by '(.*)': ", why):
        why = match[1]
    return _short(f"{told} / {why}" if why else told)


def _matters(lines: Sequence[str]) -> str:
    begins = [index for index, line in enumerate(lines) if _BEGINS.match(line)]
    first = begins[0] if begins else max(0, len(lines) - 4)
    told = list(lines[first:])
    raised = [line for line in told if _RAISED.fullmatch(line)]
    if any(re.search(r"Traceback \(most", line) for line in told):
        # Of a program that builds a package: what failed, and how its trace ends.
        head: list[str] = []
        for line in told:
            if re.search(r"\[(?:std(?:out|err)|\d+ lines? of output)\]|Traceback \(most", line):
                break
            head.append(line)
        told = [*head, *raised[-1:]] if raised else told
    kept = [_tidy(line) for line in told if not _NOISE.match(line)]
    if any(_OF_PIP in line for line in told):
        # The lines behind it do not say which package it is.
        named = [match[1] for line in lines[:first] if (match := _PACKAGE_OF_PIP.match(line))]
        kept = [
            f"cannot build {named[-1]}" if named else "",
            *(one for one in kept if one != _OF_PIP),
        ]
    return _short(" / ".join(dict.fromkeys(one for one in kept if one)))


def _tidy(line: str) -> str:
    return " ".join(_TREE.sub(" ", line).split())


def _short(text: str) -> str:
    """The beginning says what failed, the end why."""
    if len(text) <= _TOLD:
        return text
    return f"{text[: _TOLD // 3]} ... {text[-2 * _TOLD // 3 :]}"
