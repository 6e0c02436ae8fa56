"""A version as checks and replay need it: what its files say of it, and where its model server listens."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_deployment.core.domain import Address
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options, Validation
from model_deployment.endpoints.replay.request_forms import RequestForms
from model_deployment.gate import Gate
from model_deployment.registry.mlmodel_cache import MLmodelCache
from model_deployment.tabular.input_columns import ModelInputs

_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class ExaminedVersion:
    """A deployed version. Everything in it is read-only and shared."""

    key: ModelKey
    #: As the proxies compile it, with the validation of the deployment's options.
    gate: Gate
    #: Converts what it can, for the model's own example.
    lenient: Gate
    inputs: ModelInputs
    forms: RequestForms
    #: The request that MLflow saved beside the model; None if it has none.
    example: Any = None
    options: Options = field(default_factory=Options)
    #: Of its model server; None if it is not to be asked.
    address: Address | None = None

    @property
    def name(self) -> str:
        """In sentences."""
        return f"version {self.key.version}"


async def examined(
    description: MLmodelCache,
    path: Path,
    key: ModelKey,
    options: Options,
    address: Address | None = None,
) -> ExaminedVersion:
    """Read the files of a version, on a thread.

    Args:
        path: the folder of its artifacts that holds ``MLmodel``.
    """

    def read() -> ExaminedVersion:
        signature, example, _ = description.read(path)
        gate = description.gate(path, options.validation)
        lenient = description.gate(path, Validation.COERCE)
        inputs, forms = _inputs(signature or {}, gate)
        return ExaminedVersion(key, gate, lenient, inputs, forms, example, options, address)

    return await asyncio.to_thread(read)


def _inputs(signature: Mapping[str, Any], gate: Gate) -> tuple[ModelInputs, RequestForms]:
    specs = signature.get("inputs") or ()
    try:
        return ModelInputs(specs), RequestForms(specs, hinted=gate.hinted)
    except _MALFORMED:  # as the drain does, which then converts no values
        return ModelInputs(), RequestForms(())
