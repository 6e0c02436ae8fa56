"""The flags of ``endpoint set`` that are members of the policy, and what they change in one."""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer


def _percentages(text: str) -> list[float]:
    try:
        return [] if text.strip() in ("", "none") else [float(one) for one in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of percentages like 5,25,50") from None


def _duration(text: str) -> float | str:
    """A bare number as one: other text is a duration that names its units."""
    try:
        return float(text)
    except ValueError:
        return text


def _flag(kind: Any, help: str) -> Any:
    return Annotated[kind | None, typer.Option(help=help)]


def _parsed(parser: Callable[[str], Any], metavar: str, help: str) -> Any:
    return Annotated[Any, typer.Option(help=help, parser=parser, metavar=metavar)]


_STEPS = _parsed(
    _percentages,
    "PERCENT,...",
    "Shares of the requests that a candidate answers, like `5,25,50`; `none` promotes it without a canary.",
)
#: By flag: the part of the policy (empty: the policy itself), its member, and the annotation.
_FLAGS: Mapping[str, tuple[str, str, Any]] = {
    "canary_steps": ("canary", "steps", _STEPS),
    "canary_minutes": (
        "canary",
        "minutes",
        _parsed(_duration, "MINUTES", "Of each step, at least. Or text like `30s`."),
    ),
    "canary_requests": (
        "canary",
        "requests",
        _flag(int, "Requests that the candidate answers in each step, at least."),
    ),
    "check_example": (
        "checks",
        "example",
        _flag(bool, "The candidate has to predict its own input example."),
    ),
    "check_signature": (
        "checks",
        "signature",
        _flag(bool, "The candidate's signature has to accept the newest captured requests."),
    ),
    "replay": (
        "checks",
        "replay",
        _flag(int, "Captured requests that are sent to the candidate; 0: none."),
    ),
    "shadow_share": (
        "shadow",
        "share",
        _flag(float, "Percent of the live requests that are copied to the candidate; 0: none."),
    ),
    "shadow_minutes": (
        "shadow",
        "minutes",
        _parsed(_duration, "MINUTES", "Of the copies, at least. Or text like `30s`."),
    ),
    "shadow_requests": (
        "shadow",
        "requests",
        _flag(int, "Copies that the candidate answers, at least."),
    ),
    "guard_errors": (
        "guard",
        "errors",
        _flag(bool, "Roll a candidate back that fails more requests."),
    ),
    "guard_latency": (
        "guard",
        "latency",
        _flag(float, "Roll it back if it is slower than the champion by this factor; 0: never."),
    ),
    "guard_quality": (
        "guard",
        "quality",
        _flag(float, "Roll it back if its error is larger by more than this share; 0: never."),
    ),
    "guard_predictions": (
        "guard",
        "predictions",
        _flag(bool, "Roll it back if its predictions moved by more than the champion's spread."),
    ),
    "keep_previous": (
        "",
        "keep_previous",
        _parsed(
            _duration,
            "SECONDS",
            "Seconds that the previous champion is kept ready. Or text like `1h`.",
        ),
    ),
    "recreate": (
        "",
        "recreate",
        _flag(bool, "Where memory has no room for both versions, stop the champion first."),
    ),
}


def with_policy_flags(command: Callable[..., None]) -> Any:
    """Give a command ``(name, …, url)`` one flag for each member of a policy; a flag not given is None."""
    signature = inspect.signature(command)
    name, *others = signature.parameters.values()
    flags = [
        name.replace(
            name=flag, default=None, annotation=annotation, kind=inspect.Parameter.KEYWORD_ONLY
        )
        for flag, (_, _, annotation) in _FLAGS.items()
    ]
    kept = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in others]
    made = signature.replace(parameters=[name, *flags, *kept])
    command.__signature__ = made  # type: ignore[attr-defined]
    return command


def changed(policy: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """A policy with what flags name. A share of 0 leaves the shadow out.

    Args:
        policy: as the controller shows it; empty for a new endpoint.
        flags: of the policy and of deploy options, by name; None or an empty list names nothing.
    """
    found: dict[str, Any] = {
        part: dict(value) if isinstance(value, Mapping) else value for part, value in policy.items()
    }
    shadow: dict[str, Any] = {}
    for flag, value in flags.items():
        part, member, _ = _FLAGS.get(flag, ("options", flag, None))
        if value is None or (part == "options" and value == []):
            continue
        if part == "shadow":
            shadow[member] = value
        elif part:
            found.setdefault(part, {})[member] = value
        else:
            found[member] = value
    if shadow:
        checks = found.setdefault("checks", {})
        off = shadow.get("share") == 0
        checks["shadow"] = None if off else (checks.get("shadow") or {}) | shadow
    return found
