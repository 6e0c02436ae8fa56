"""Enrolment: a code of an operator against a token, once.

The code names the key that the controller has to have: so the device knows that it talks to the
controller that made the code.
"""

import base64
import re
from collections.abc import Mapping
from typing import Any

from model_deployment_agent.controller import Controller, segment
from model_deployment_agent.errors import AgentError
from model_deployment_agent.folder import Folder, Identity
from model_deployment_agent.manifest import key_id

_CODE = re.compile(r"mdc_[A-Za-z0-9_-]{43}\.([0-9a-f]{16})", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def enrol(
    controller: Controller,
    folder: Folder,
    *,
    url: str,
    project: str,
    code: str,
    device: str,
    attributes: Mapping[str, str],
    insecure: bool,
) -> Identity:
    """Register the device, and keep what came of it in its folder.

    Raises:
        AgentError: the code, a name or the answer cannot be used; nothing was written.
    """
    found = _CODE.fullmatch(code)
    if not found:
        raise AgentError("cannot enrol: the code is not whole; it is like mdc_….0123456789abcdef")
    for name, what in ((project, "project"), (device, "device")):
        if not _NAME.fullmatch(name):
            raise AgentError(
                f"cannot enrol: the {what} name {name[:70]!a} may have 1 to 64 letters, digits, "
                "'.', '_' and '-', "
                "and begins with a letter or a digit"
            )
    body = {"code": code, "device": device, "attributes": dict(attributes)}
    answer = controller.call("POST", f"/{segment(project)}/registerDevice", body=body).body
    token, public = _checked(answer)
    if key_id(public) != found[1]:
        raise AgentError(
            f"cannot enrol: the controller at {url} signs with key {key_id(public)}, "
            f"and the code is of one that signs "
            f"with {found[1]}; check the address, and whether someone is between"
        )
    identity = Identity(
        url=url,
        project=str(answer.get("project") or project),
        device=str(answer.get("device") or device),
        key=base64.b64encode(public).decode(),
        insecure=insecure,
    )
    folder.save_identity(identity, token)
    return identity


def _checked(answer: Any) -> tuple[str, bytes]:
    try:
        token, public = answer["token"], base64.b64decode(answer["key"]["public"], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise AgentError(
            "cannot enrol: the answer of the controller has no token or no key"
        ) from error
    if (
        not isinstance(token, str)
        or not token.isascii()
        or not token.isprintable()
        or len(public) != 32
    ):
        raise AgentError(
            "cannot enrol: the token or the key in the answer of the controller is not whole"
        )
    return token, public
