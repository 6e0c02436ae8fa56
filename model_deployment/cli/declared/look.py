"""Looks what a controller has, to compare it with what a file declares."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from model_deployment.cli.declared.plan import Found, FoundDeployment, FoundEndpoint
from model_deployment.cli.following import is_changing

if TYPE_CHECKING:
    from model_deployment.client import Client

#: A model and a version.
Key = tuple[str, int]


def look(client: "Client", keys: Iterable[Key], warn: Callable[[str], None]) -> Found:
    """What a controller has now.

    Args:
        keys: versions that the registry is likely to have, of which one tells the default options.
        warn: told if the default options are unknown.
    """
    rows = [one for one in client.deployments() if one["desired"] == "running"]
    deployed = [(one["model"], one["version"]) for one in rows]
    return Found(
        {one["name"]: _deployment(one) for one in rows},
        {one["name"]: _endpoint(one) for one in client.endpoints() if not one["deleting"]},
        _defaults(client, [*deployed, *keys], warn),
    )


def aliases(client: "Client") -> dict[str, dict[str, int]]:
    """Versions of the aliases of all registered models."""
    return {one["name"]: dict(one["aliases"]) for one in client.models()}


def _deployment(row: Mapping[str, Any]) -> FoundDeployment:
    failure = (row["reason"] or "no reason is known") if row["state"] == "failed" else ""
    starting = row["state"] in ("pending", "starting") or is_changing(row)
    return FoundDeployment(row["model"], row["version"], row["options"], failure, starting)


def _endpoint(shown: Mapping[str, Any]) -> FoundEndpoint:
    rollout = shown["rollout"] or {}
    versions = {one["version"] for one in shown["versions"]} | {shown["champion"]}
    if shown["previous_until"]:
        versions.add(shown["previous"])
    if rollout.get("active"):
        versions |= {rollout["candidate"], rollout["champion"]}
    held = frozenset(f"{shown['model']}-{version}" for version in versions if version is not None)
    return FoundEndpoint(shown["policy"], held)


def _defaults(
    client: "Client", keys: list[Key], warn: Callable[[str], None]
) -> Mapping[str, Any] | None:
    from model_deployment.client.errors import ApiError

    why = ""
    for model, version in keys[:2]:
        try:
            found: Mapping[str, Any] = client.deploy_needs(model, version)["defaults"]
            return found
        except (ApiError, KeyError) as error:
            why = str(error)
    if why:
        warn(
            f"cannot find out the default options ({why}): options that are not named stay as they are"
        )
    return None
