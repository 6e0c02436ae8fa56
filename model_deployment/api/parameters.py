"""Parameters that several calls take: parts of paths, and how long to wait."""

from typing import Annotated

from fastapi import Path, Query

from model_deployment.core.names import NAME, VERSION

# The patterns are documented and not checked here: ModelKey checks, and explains what is wrong.
ModelName = Annotated[
    str,
    Path(
        description="Name of a registered model.",
        examples=["diabetes"],
        json_schema_extra={"pattern": f"^{NAME.pattern}$"},
    ),
]
ModelVersion = Annotated[
    str,
    Path(
        description="Version, a whole number.",
        examples=["1"],
        json_schema_extra={"pattern": f"^{VERSION.pattern}$"},
    ),
]
Key = Annotated[
    str,
    Path(
        description="`<model>-<version>`.",
        examples=["diabetes-1"],
        json_schema_extra={"pattern": f"^{NAME.pattern}-{VERSION.pattern}$"},
    ),
]
Wait = Annotated[
    float, Query(ge=0, le=3600, description="Seconds to wait for the outcome; 0 answers at once.")
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
