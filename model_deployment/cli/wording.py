"""What the controller refuses, told as commands instead of calls. Pure: from a problem to text."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from model_deployment.core import units
from model_deployment.core.options import Options

#: Where the client's own hint begins, for programs that have no commands.
_HINT = re.compile(r"(?:;|\.) is it running", re.IGNORECASE)
#: Parts of a call that does not fit that are listed.
_LISTED = 10

Problem = Mapping[str, Any]


def told(message: str, problem: Problem, options: Mapping[str, Any]) -> str:
    """A message for somebody at a terminal.

    Args:
        message: of the error.
        problem: the document that the controller answered with; empty if no answer came.
        options: that the command named.
    """
    if not problem:
        return _unanswered(message)
    detail = str(problem.get("detail") or message)
    if in_force := problem.get("options"):
        detail = _conflict(detail, in_force, options)
    elif problem.get("status") in (404, 405) and "this path" in detail:
        return (
            "this controller does not know the call: it may be older than this command line; "
            "'model-deployment status' and 'model-deployment --version' tell their versions"
        )
    text = in_commands(detail)
    advice = problem.get("advice") or ""
    if advice and advice not in text:
        text = f"{text}. {advice}"
    return "\n".join([text, *_parts(problem)])


def in_commands(text: str) -> str:
    """A message in which calls of the API are named by the commands that make them."""
    for pattern, made in _CALLS:
        text = pattern.sub(made, text)
    return text


def _command(*parts: str) -> str:
    return " ".join(["model-deployment", *map(shlex.quote, parts)])


def _deploy(found: re.Match[str]) -> str:
    return f"deploy it with: {_command('deploy', found[1], found[2])}"


def _endpoint(order: str) -> Any:
    return lambda found: _command(
        "endpoint", order, found[1].replace("<model>@<alias>", "MODEL@ALIAS")
    )


def _option(found: re.Match[str]) -> str:
    path = found[1]
    name = path.rpartition(".")[2].partition("[")[0]
    return f"--{name.replace('_', '-')}" if name in Options.declarations() else path


#: Calls as messages name them, and what is written instead.
_CALLS: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"\bPOST /deploy/(.+)/(\d+)"), _deploy),
    (re.compile(r"\bDELETE /endpoints/([^\s)]+)"), _endpoint("delete")),
    (re.compile(r"\bPUT /endpoints/(\S+)"), _endpoint("set")),
    (re.compile(r"\bGET /endpoints/([^\s/]+)/rollouts"), _endpoint("show")),
    (
        re.compile(r"\bPOST /projects(?= makes)"),
        "model-deployment project create PROJECT --model MODEL",
    ),
    (
        re.compile(r"\badd (.+) with PATCH /projects/(\S+)"),
        lambda found: (
            f"add {found[1]} with: {_command('project', 'change', found[2])} --model MODEL …"
        ),
    ),
    (
        re.compile(r'\bPOST /([^\s/]+)/setModel with \{?"endpoint": null\}?(?=\))'),
        lambda found: _command("release", "unfollow", found[1]),
    ),
    (
        re.compile(r"\bGET /([^\s/]+)/devices(?= (?:lists|shows))"),
        lambda found: _command("device", "list", found[1]),
    ),
    (re.compile(r"\bwith force=true\b"), "with --force"),
    (re.compile(r"\bGET /model/([^\s/]+)/launches"), lambda found: _command("launches", found[1])),
    (re.compile(r"\bPOST /set_model makes"), "model-deployment endpoint default MODEL@ALIAS makes"),
    (re.compile(r"\bGET /datasets (?=lists)"), "model-deployment datasets list "),
    (re.compile(r"\bDELETE /datasets/\S+(?=\))"), "model-deployment datasets delete SHA256"),
    (
        re.compile(r"send them with HTTP basic authentication \(curl -u NAME\)"),
        "set MODEL_DEPLOYMENT_USER and MODEL_DEPLOYMENT_PASSWORD",
    ),
    (re.compile(r"\bthe call takes\b.*?; options belong in a JSON body"), "it is unknown there"),
    (re.compile(r"(?<=cannot use )([\w.\[\]]+) in the body"), _option),
    (re.compile(r" \(\d+ more below\)"), ""),
    (re.compile(r"\bwith strategy=recreate\b"), "with --recreate"),
)


def _unanswered(message: str) -> str:
    if not message.startswith("cannot reach "):
        return message
    return (
        f"{_HINT.split(message)[0]}. Start it with 'model-deployment serve', or give the "
        "address of another controller with --url"
    )


def _conflict(detail: str, in_force: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    """Only the options that differ, of all that the controller lists."""
    what = detail.partition(": ")[0]
    differing = [
        f"--{name.replace('_', '-')} is {_shown(in_force[name])} there, not {_shown(value)}"
        for name, value in named.items()
        if name in in_force and _value(name, value) != in_force[name]
    ]
    why = "; ".join(differing) or "its options differ"
    return f"{what}: {why}. Change them in place with --replace"


def _value(name: str, given: Any) -> Any:
    """A flag's value as the controller has it."""
    one = Options.declarations()[name]
    if isinstance(given, str) and given not in one.words:
        try:
            if one.is_duration:
                return units.duration(given, one.unit)
            return units.size(given) if one.is_size else given
        except ValueError:
            return given
    return list(given) if one.is_list else given


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parts(problem: Problem) -> Iterator[str]:
    """What of the request does not fit, a line each; nothing if it is told already."""
    errors = problem.get("errors") or []
    if len(errors) < 2:
        return
    for one in errors[:_LISTED]:
        yield f"  {_part(one)}"
    if (rest := int(problem.get("error_count") or len(errors)) - _LISTED) > 0:
        yield f"  … and {rest} more"


def _part(one: Mapping[str, Any]) -> str:
    if "problem" in one:
        field = str(one.get("field", "")).removeprefix("body.")
        return f"{field}: {one['problem']}"
    row = "" if one.get("row") is None else f"row {one['row']}, "
    column = f"column {one['column']!r}" if one.get("column") else "the request"
    return f"{row}{column}: expected {one.get('expected')}, got {one.get('got')}"
