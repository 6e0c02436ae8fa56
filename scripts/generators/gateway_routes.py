"""The table of paths in nginx/routes.conf, from the controller's table of policies."""

import re

from model_deployment.api.policies import POLICIES, SOCKET
from model_deployment.core import names as model_names


def gateway_routes(text: str) -> str:
    """The gateway's routes.conf with its table of paths made from the controller's table of policies."""
    lines = ['    default "";']
    # The first pattern that matches counts: names of models come behind our own, those of projects last.
    ordered = sorted(POLICIES.items(), key=lambda one: _place(one[0][1]))
    handlers: dict[str, list[str]] = {}
    reserved = ""
    for (method, template), policy in ordered:
        # A handshake is a GET.
        sent = "GET" if method == SOCKET else method
        handlers.setdefault(template, []).append(f"{sent} {policy.handler}")
    for template, found in handlers.items():
        # Reading comes before changing, as in the header Allow.
        allowed = " ".join(sorted(found, key=lambda one: not one.startswith("GET ")))
        # Only a prediction's first segment needs the exact form: other paths begin with a fixed one, or are
        # of a project.
        exact = {"name": _prediction_names()} if template.startswith("/{name}") else {}
        parts = re.split(r"\{(\w+(?::\w+)?)\}", template)
        parts[::2] = map(re.escape, parts[::2])
        parts[1::2] = [
            exact.get(name, ".+" if name.endswith(":path") else "[^/]+") for name in parts[1::2]
        ]
        key = '"~^' + "".join(parts) + r'\z"'
        if not reserved and template.startswith("/{project}"):
            reserved = f'"~^/(?i:{_reserved()})/"'
            lines.append(f'    {reserved:<51} "";')
        lines.append(f'    {key:<51} "{allowed}";')
    before, opening, rest = text.partition("map $uri $route {\n")
    return before + opening + "\n".join(lines) + "\n" + rest[rest.index("}\n") :]


def _prediction_names() -> str:
    """Matches what predictions are sent to: ``<model>-<version>``, ``<model>@<alias>``, ``<model>``."""
    reserved = _reserved()
    version = model_names.VERSION.pattern
    # nginx matches bytes; an alias may have letters of any script.
    alias = r"[\w\x80-\xFF-]{1,512}"
    model = model_names.NAME.pattern
    return rf"(?:{model}-{version}|(?!(?i:{reserved})(?:[/@]|\z)){model}(?:@{alias})?)"


def _reserved() -> str:
    return "|".join(map(re.escape, sorted(model_names.RESERVED_NAMES)))


def _place(template: str) -> int:
    return 2 if template.startswith("/{project}") else template.startswith("/{name}")
