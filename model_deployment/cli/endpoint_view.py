"""How an endpoint and its rollout are shown on a terminal. Pure: from the controller's answer to lines."""

from collections.abc import Iterator, Mapping
from typing import Any

#: Cells of a bar that stands for all requests.
_BAR = 20
#: States of a rollout that is under way, in their order.
_STAGES = ("deploying", "checking", "replaying", "shadowing", "canary")

Shown = Mapping[str, Any]


def lines(endpoint: Shown) -> list[str]:
    """An endpoint, what serves it, and how far its rollout is."""
    return [*_head(endpoint), *_versions(endpoint), *_rollout(endpoint), *_guards(endpoint)]


def progress(endpoint: Shown) -> str:
    """One line, which changes whenever something happens."""
    rollout = endpoint["rollout"]
    return f"{endpoint['name']}: {endpoint['status']}" + (
        f" (paused at {_place(endpoint)})" if rollout and _paused(rollout) else ""
    )


def ended(endpoint: Shown) -> bool:
    """Nothing of the endpoint is under way, and nothing will be before the alias moves."""
    rollout = endpoint["rollout"]
    if rollout is None:
        # The first one of a new endpoint follows.
        return endpoint["champion"] is not None or endpoint["alias_version"] is None
    if rollout["state"] == "superseded":
        # The rollout of the version that the alias names now follows.
        return bool(endpoint["alias_version"] in (endpoint["champion"], None))
    return not rollout["active"]


def promoted(endpoint: Shown) -> bool:
    """What the alias named became the champion, or there was no other."""
    rollout = endpoint["rollout"]
    if rollout is None:
        return endpoint["champion"] is not None
    return rollout["state"] in ("promoted", "superseded")


def _head(endpoint: Shown) -> Iterator[str]:
    short = f", {endpoint['short_url']}" if endpoint["short_url"] else ""
    yield f"{endpoint['name']}  {endpoint['url']}{short}"
    named, rollout = endpoint["alias_version"], endpoint["rollout"]
    if rollout and not rollout["active"] and named not in (None, endpoint["champion"]):
        yield f"  the alias {endpoint['alias']} names version {named}"
    if endpoint["notice"]:
        yield f"  {endpoint['notice']}"


def _versions(endpoint: Shown) -> Iterator[str]:
    if not endpoint["versions"]:
        yield "  no version serves yet"
    for one in endpoint["versions"]:
        filled = round(one["share"] * _BAR) or (1 if one["share"] > 0 else 0)
        bar = "#" * filled + "." * (_BAR - filled)
        state = one["state"] or "not deployed"
        why = "" if state == "ready" or not one["reason"] else f": {one['reason']}"
        version = f"version {one['version']}"
        yield f"  {version:<12} {one['role']:<10} {bar} {_percent(one['share']):>6} {state}{why}"


def _rollout(endpoint: Shown) -> Iterator[str]:
    rollout = endpoint["rollout"]
    if rollout is None:
        return
    against = "" if rollout["champion"] is None else f" against version {rollout['champion']}"
    yield f"rollout {rollout['id']}: version {rollout['candidate']}{against}"
    if rollout["active"]:
        yield "  " + " > ".join(_stages(endpoint))
        paused = "paused; " if _paused(rollout) else ""
        yield f"  {paused}{rollout['reason']}"
    else:
        state = rollout["state"].replace("_", " ")
        yield f"  {state}: {rollout['reason']}" if rollout["reason"] else f"  {state}"
    for name in ("check", "replay"):
        if found := endpoint[name]:
            yield f"  {name}: {found['outcome']}: {found['reason']}"


def _stages(endpoint: Shown) -> Iterator[str]:
    """The stages that the rollout has by the policy, with the one that it is at in brackets."""
    rollout, policy = endpoint["rollout"], endpoint["policy"]
    checks, now = policy["checks"], rollout["state"]
    compared = rollout["champion"] is not None
    wanted = {
        "checking": checks["example"] or (compared and checks["signature"]),
        "replaying": compared and checks["replay"] > 0,
        "shadowing": compared and checks["shadow"] is not None,
        "canary": compared and bool(policy["canary"]["steps"]),
    }
    if rollout["kind"] == "back":  # it has proved itself
        wanted = dict.fromkeys(wanted, False)
    for stage in _STAGES:
        if stage == now:
            yield f"[{_place(endpoint)}]"
        elif wanted.get(stage, True):
            yield stage
    yield "promoted"


def _place(endpoint: Shown) -> str:
    rollout, steps = endpoint["rollout"], endpoint["policy"]["canary"]["steps"]
    if rollout["state"] == "canary" and rollout["step"] < len(steps):
        return f"canary {steps[rollout['step']]:g} %, step {rollout['step'] + 1} of {len(steps)}"
    return str(rollout["state"])


def _guards(endpoint: Shown) -> Iterator[str]:
    guards = endpoint["guards"]
    if guards is None:
        return
    yield f"guards: {guards['outcome']}" + (f": {guards['reason']}" if guards["reason"] else "")
    for one in guards["readings"]:
        evidence = f" (evidence {one['evidence']:.3g} of {one['limit']:g})" if one["limit"] else ""
        yield f"  {one['guard']:<11} {one['outcome']:<12} {one['text']}{evidence}"


def _paused(rollout: Shown) -> bool:
    return bool(rollout["active"] and rollout["order"] == "pause")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
