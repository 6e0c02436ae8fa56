"""Reads the file that declares deployments and endpoints; an error names its line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_deployment.api.endpoint_policy import PolicyIn
from model_deployment.api.options import DeployOptions
from model_deployment.api.validation_messages import describe_errors
from model_deployment.cli.declared.plan import DeclaredDeployment, DeclaredState
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import InvalidRequest, ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.core.rollout_policy import RolloutPolicy

#: Versions of the aliases of each model.
Aliases = Mapping[str, Mapping[str, int]]


class InvalidDocument(InvalidRequest):
    """A file declares nothing that can be applied; the message has a line for each error."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DeploymentIn(_Part):
    """A model version by its number or by an alias of the registry."""

    model: str
    version: int | None = Field(None, strict=True)
    alias: str | None = None
    options: DeployOptions = Field(default_factory=DeployOptions)

    @model_validator(mode="after")
    def _one_of_both(self) -> "DeploymentIn":
        if (self.version is None) == (self.alias is None):
            raise ValueError("name either a version or an alias")
        try:
            # A model may have been deployed before its name was reserved.
            ModelKey.addressed(self.model, 1 if self.version is None else self.version)
            if self.alias is not None:
                EndpointName.of(self.model, self.alias)
        except ModelDeploymentError as error:
            raise ValueError(error.detail) from None
        return self


class EndpointIn(_Part):
    """An endpoint with its policy; a member that is left out has its default."""

    name: str
    policy: PolicyIn = Field(default_factory=PolicyIn)

    @model_validator(mode="after")
    def _named(self) -> "EndpointIn":
        try:
            EndpointName.parse(self.name)
        except ModelDeploymentError as error:
            raise ValueError(error.detail) from None
        return self


class Document(_Part):
    """The whole file. A kind that is left out is not touched; an empty list means that there is none."""

    deployments: list[DeploymentIn] | None = None
    endpoints: list[EndpointIn] | None = None


@dataclass(frozen=True, slots=True)
class DeclarationFile:
    """A file that was read, with the lines of its parts for later messages."""

    document: Document
    where: str
    root: yaml.Node | None

    def error(self, location: tuple[Any, ...], what: str) -> str:
        return f"{self.where}:{_line(self.root, location)}: {what}"


def read(text: str, where: str) -> DeclarationFile:
    """Read a file.

    Args:
        where: the name of the file, for messages.

    Raises:
        InvalidDocument: it is no YAML, or declares something that there is not.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        doubles = [*_doubles(root)]
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error)
        raise InvalidDocument(f"{where}{line}: cannot read the YAML: {what}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"{where}: cannot read the YAML: {error}") from None
    if doubles:
        raise InvalidDocument(
            "\n".join(f"{where}:{line}: {name} stands here twice" for line, name in doubles)
        )
    try:
        document = Document.model_validate({} if content is None else content)
    except ValidationError as error:
        unread = DeclarationFile(Document(), where, root)
        raise InvalidDocument("\n".join(_messages(unread, error))) from None
    return DeclarationFile(document, where, root)


def declared_state(file: DeclarationFile, aliases: Aliases) -> DeclaredState:
    """What a file declares, with the versions that aliases name now.

    Raises:
        InvalidDocument: an alias names no version, or a version or endpoint is declared twice.
    """
    document, wrong = file.document, list[str]()
    deployments: dict[str, DeclaredDeployment] = {}
    for index, one in enumerate(document.deployments or ()):
        at = ("deployments", index)
        version = one.version
        if one.alias is not None:
            version = aliases.get(one.model, {}).get(one.alias)
        if version is None:
            wrong.append(file.error((*at, "alias"), _no_alias(one, aliases)))
            continue
        options = one.options.model_dump(mode="json", exclude_none=True)
        made = DeclaredDeployment(one.model, version, options, one.alias or "")
        if deployments.setdefault(made.name, made).options != options:
            wrong.append(file.error(at, f"{made.name} is declared twice, with other options"))
    endpoints: dict[str, Mapping[str, Any]] = {}
    for index, endpoint in enumerate(document.endpoints or ()):
        policy = RolloutPolicy.from_dict(endpoint.policy.policy()).as_dict()
        if endpoints.setdefault(endpoint.name, policy) is not policy:
            wrong.append(file.error(("endpoints", index), f"{endpoint.name} is declared twice"))
    if wrong:
        raise InvalidDocument("\n".join(wrong))
    return DeclaredState(
        None if document.deployments is None else tuple(deployments.values()),
        None if document.endpoints is None else endpoints,
    )


def _no_alias(one: DeploymentIn, aliases: Aliases) -> str:
    if one.model not in aliases:
        return f"cannot find the model {one.model} in the registry"
    there = ", ".join(sorted(aliases[one.model])) or "none"
    return f"{one.model} has no alias {one.alias}; its aliases: {there}"


def _messages(file: DeclarationFile, error: ValidationError) -> Iterator[str]:
    found: list[Any] = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
    for one in found:
        said = describe_errors([one], Document)["errors"][0]
        place = said["field"].removeprefix("body").removeprefix(".")
        what = said["problem"].replace("a JSON object", "a mapping")
        what = f"{place}: {what}" if place else what
        yield file.error(tuple(one["loc"][1:]), what)


def _line(node: Any, location: tuple[Any, ...]) -> int:
    """The line of the part at a location, or of the nearest one around it that there is."""
    line = node.start_mark.line if node else 0
    for part in location:
        match node:
            case yaml.MappingNode():
                found = [(key, value) for key, value in node.value if key.value == str(part)]
                if not found:
                    break
                key, node = found[0]
                line = key.start_mark.line
            case yaml.SequenceNode() if isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line
            case _:
                break
    return line + 1


def _doubles(node: Any) -> Iterator[tuple[int, str]]:
    """Line and name of members that a mapping has twice: YAML would take the last one."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                yield key.start_mark.line + 1, key.value
            elif isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
            yield from _doubles(value)
    elif isinstance(node, yaml.SequenceNode):
        for one in node.value:
            yield from _doubles(one)
