"""The bodies of a deploy call and of its answer, as far as they are made from the declared options."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
)

from model_deployment.api.parameters import encodable
from model_deployment.core import units
from model_deployment.core.options import Declaration, OptionOverrides, Options, as_json
from model_deployment.core.replicas import MAX_REPLICAS, Replicas

_ColumnName = Annotated[str, Field(min_length=1, max_length=250), AfterValidator(encodable)]
_MAX_COLUMNS = 1000
#: By unit: text that certainly lies within the limits, and an example of it.
_DURATION_TEXTS = {"s": ("^[0-9]{1,3}[smh]$", "30m"), "d": ("^[1-9][0-9]{0,2}[hd]$", "12h")}
_RANGE_TEXT = "^1-[1-9]$"


class ReplicaRange(BaseModel):
    """From how many to how many model servers of a deployment serve."""

    model_config = ConfigDict(extra="forbid")

    min: int = Field(1, strict=True, ge=1, le=MAX_REPLICAS)
    max: int = Field(strict=True, ge=1, le=MAX_REPLICAS)


class DeployBody(BaseModel):
    """How to serve the model version; an option that is left out takes the default."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"workers": 2, "validation": "strict", "batch_max_rows": 256}]
        },
    )

    def overrides(self) -> OptionOverrides:
        return OptionOverrides(**dict(self))

    def named(self) -> dict[str, Any]:
        """The options that the body names; None is the default."""
        return {name: getattr(self, name) for name in self.model_fields_set}


def deploy_model(options: type[Options]) -> type[DeployBody]:
    """The body of a deploy call, with a member for each option."""
    members: dict[str, Any] = {
        name: (_accepted(one) | None, Field(None, **_details(one)))
        for name, one in options.declarations().items()
    }
    return create_model("DeployOptions", __base__=DeployBody, __doc__=DeployBody.__doc__, **members)


def options_model(options: type[Options]) -> type[BaseModel]:
    """The options in force, as answers show them."""
    defaults = options()
    members: dict[str, Any] = {
        name: (_answered(one, optional=getattr(defaults, name) is None), ...)
        for name, one in options.declarations().items()
    }
    return create_model("OptionsOut", __doc__="The options in force.", **members)


def _accepted(one: Declaration) -> Any:
    """The annotation of a member of the request."""
    if one.is_list:
        return tuple[_ColumnName, ...]
    if one.is_range:
        return _REPLICAS
    if one.words:
        return _number_or_word(one)
    if one.is_size:
        return _number_or_size(one)
    if not one.is_duration:
        return one.kind
    limits = {"gt" if one.positive else "ge": one.minimum, "le": one.maximum}
    number = Annotated[float, Field(**limits)]
    text = Annotated[str, Field(pattern=_DURATION_TEXTS[one.unit][0])]

    def read(value: Any) -> Any:
        return units.duration(value, one.unit) if isinstance(value, str) else value

    return Annotated[number, BeforeValidator(read, json_schema_input_type=number | text)]


_REPLICAS = Annotated[
    Replicas,
    PlainValidator(
        Replicas.read,
        json_schema_input_type=Annotated[int, Field(ge=1, le=MAX_REPLICAS)]
        | Annotated[str, Field(pattern=_RANGE_TEXT)]
        | ReplicaRange,
    ),
    PlainSerializer(as_json),
]


def _size_unit(one: Declaration) -> str:
    """Of a size with three digits that certainly lies within the limits."""
    return "MiB" if (one.minimum or 0) >= units.size("1MiB") else "KiB"


def _number_or_size(one: Declaration) -> Any:
    number = Annotated[int, Field(ge=one.minimum, le=one.maximum)]
    text = Annotated[str, Field(pattern=f"^[1-9][0-9]{{2}}{_size_unit(one)}$")]

    def read(value: Any) -> Any:
        return units.size(value) if isinstance(value, str) else value

    return Annotated[number, BeforeValidator(read, json_schema_input_type=number | text)]


def _number_or_word(one: Declaration) -> Any:
    kind: Any = one.kind
    number = Annotated[kind, Field(strict=True, ge=one.minimum, le=one.maximum)]
    accepted: Any = number | Literal[one.words]
    if one.is_size:
        accepted |= Annotated[str, Field(pattern=f"^[1-9][0-9]{{2}}{_size_unit(one)}$")]

    def read(value: Any, read_number: ValidatorFunctionWrapHandler) -> Any:
        if value in one.words:
            return value
        return read_number(units.size(value) if one.is_size and isinstance(value, str) else value)

    # Written as it is: the serializer of a whole number warns about a word.
    as_it_is = PlainSerializer(lambda value: value)
    return Annotated[number, WrapValidator(read, json_schema_input_type=accepted), as_it_is]


def _details(one: Declaration) -> dict[str, Any]:
    if one.is_list:
        return {"description": one.description, "max_length": _MAX_COLUMNS}
    if one.is_duration:
        example = _DURATION_TEXTS[one.unit][1]
        return {"description": f"{one.description} Text like `{example}` is accepted as well."}
    if one.is_size:
        example = f"512{_size_unit(one)}"
        return {"description": f"{one.description} Text like `{example}` is accepted as well."}
    if one.words or one.is_range:
        return {"description": one.description}
    details = {"description": one.description, "ge": one.minimum, "le": one.maximum}
    return details | ({"strict": True} if one.is_whole else {})


def _answered(one: Declaration, *, optional: bool) -> Any:
    kind: Any = list[str] if one.is_list else one.kind
    if one.is_range:
        kind = int | ReplicaRange
    if one.words:
        kind |= Literal[one.words]
    return kind | None if optional else kind


# The type checker does not see the members.
if TYPE_CHECKING:

    class DeployOptions(DeployBody): ...

    class OptionsOut(BaseModel): ...

else:
    DeployOptions = deploy_model(Options)
    OptionsOut = options_model(Options)
