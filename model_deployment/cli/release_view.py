"""How a release is shown on a terminal. Pure: from the controller's answer to lines."""

from collections.abc import Iterator, Mapping
from typing import Any

from model_deployment.cli.output import printable
from model_deployment.rendering import numbers
from model_deployment.rendering.release_content import content_text

#: Cells of a bar that stands for all devices of a stage.
_BAR = 20
#: States of devices that are worth a line of their own.
_TOLD = ("failed", "refused", "downloading", "verifying", "trying")
#: Devices that are shown of each stage.
_SHOWN = 5

Shown = Mapping[str, Any]


def lines(release: Shown) -> list[str]:
    """A release, its stages, and the devices that have trouble or are busy."""
    return [printable(line) for line in (*_head(release), *_stages(release))]


def progress(release: Shown) -> str:
    """One line, which changes whenever something happens."""
    counts = ", ".join(
        f"{stage['name']} {stage['counts']['running']}/{stage['devices']}"
        for stage in release["stages"]
        if stage["open"]
    )
    reason = f": {release['reason']}" if release["reason"] else ""
    told = f" ({counts})" if counts else ""
    return printable(f"{title(release)}: {release['state']}{reason}{told}")


def title(release: Shown) -> str:
    return f"release {release['number']} of {release['project']}, {version(release)}"


def version(release: Shown) -> str:
    return f"{release['model']}-{release['version']}"


def complete(release: Shown) -> bool:
    """It is what devices should run; or a newer release took its place, whose own view tells more."""
    return release["state"] in ("complete", "superseded")


def _head(release: Shown) -> Iterator[str]:
    yield title(release)
    yield (
        f"  {release['state']}: {release['reason']}"
        if release["reason"]
        else (f"  {release['state']}")
    )
    if release["endpoint"]:
        yield f"  follows {release['endpoint']}"
    if release["reverts"] is not None:
        yield f"  takes back release {release['reverts']}"
    if release.get("manifest"):
        yield from (f"  {what}: {text}" for what, text in content_text(release["manifest"]))


def _stages(release: Shown) -> Iterator[str]:
    width = max((len(one["name"]) for one in release["stages"]), default=0)
    for stage in release["stages"]:
        counts = stage["counts"]
        share = counts["running"] / stage["devices"] if stage["devices"] else 0.0
        filled = round(share * _BAR) or (1 if counts["running"] else 0)
        bar = "#" * filled + "." * (_BAR - filled)
        state = "open" if stage["open"] else "waits"
        running = f"{counts['running']} of {numbers.count(stage['devices'], 'device')}"
        others = ", ".join(
            f"{number} {name}" for name, number in counts.items() if number and name != "running"
        )
        told = f"; {others}" if others else ""
        yield f"  {stage['name']:<{width}} {state:<5} {bar} {running}{told}"
        yield from _devices(stage)


def _devices(stage: Shown) -> Iterator[str]:
    told = [one for one in stage["updates"] if one["state"] in _TOLD]
    for one in told[:_SHOWN]:
        share = f" {numbers.percent(one['bytes'], one['of'])}" if _loads(one) else ""
        why = f": {' '.join(one['reason'].split())}" if one["reason"] else ""
        yield f"    {one['device']} {one['state']}{share}{why}"
    if len(told) > _SHOWN:
        yield f"    … and {len(told) - _SHOWN} more"


def _loads(update: Shown) -> bool:
    return bool(update["state"] == "downloading" and update["of"])
