"""Parameters that several calls take: parts of paths, and how long to wait."""

from typing import Annotated, Any

from fastapi import Path, Query

from model_deployment.core.devices import DEVICE_NAME
from model_deployment.core.endpoints import ALIAS
from model_deployment.core.names import NAME, VERSION
from model_deployment.core.replacement import Strategy


def _in_path(description: str, example: str, pattern: str) -> Any:
    # The pattern is documented and not checked here: ModelKey checks, and explains what is wrong.
    schema: dict[str, Any] = {"pattern": f"^{pattern}$"}
    return Path(description=description, examples=[example], json_schema_extra=schema)


ModelName = Annotated[str, _in_path("Name of a registered model.", "diabetes", NAME.pattern)]
ModelVersion = Annotated[str, _in_path("Version, a whole number.", "1", VERSION.pattern)]
Key = Annotated[
    str, _in_path("`<model>-<version>`.", "diabetes-1", f"{NAME.pattern}-{VERSION.pattern}")
]
#: What predictions are sent to.
Target = Annotated[
    str,
    _in_path(
        "`<model>-<version>`, an endpoint's `<model>@<alias>`, or `<model>` for its default endpoint.",
        "diabetes-1",
        rf"{NAME.pattern}(-{VERSION.pattern}|@{ALIAS.pattern})?",
    ),
]
#: What monitoring is asked about.
KeyOrEndpoint = Annotated[
    str,
    _in_path(
        "`<model>-<version>`, or an endpoint's `<model>@<alias>`.",
        "diabetes-1",
        rf"{NAME.pattern}(-{VERSION.pattern}|@{ALIAS.pattern})",
    ),
]
EndpointPath = Annotated[
    str,
    _in_path("`<model>@<alias>`.", "diabetes@champion", f"{NAME.pattern}@{ALIAS.pattern}"),
]
ProjectName = Annotated[
    str, _in_path("Name of a project of devices, or its id.", "warehouse", DEVICE_NAME.pattern)
]
DeviceName = Annotated[str, _in_path("Name of a device.", "camera-7", DEVICE_NAME.pattern)]
ReleaseNumber = Annotated[
    int, Path(ge=1, le=2**31 - 1, description="Number of a release of the project.", examples=[4])
]
ModelFilter = Annotated[str | None, Query(description="Only this model.", max_length=300)]
Wait = Annotated[
    float, Query(ge=0, le=3600, description="Seconds to wait for the outcome; 0 answers at once.")
]

ChangeStrategy = Annotated[
    Strategy,
    Query(
        description="`beside` starts the new launch beside the one that serves. `recreate` stops that one "
        "first: memory is needed for one launch only, and requests wait as in a restart, for at most "
        "`MODEL_DEPLOYMENT_RECOVERY_TIMEOUT`."
    ),
]


def encodable(text: str) -> str:
    """Return the text, unless UTF-8 cannot encode it: JSON may contain half of a surrogate pair.

    Raises:
        ValueError: UTF-8 cannot encode it.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("it contains half of a surrogate pair") from None
    return text
