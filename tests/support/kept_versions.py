"""Files that are kept as versions of training data."""

import hashlib
from datetime import UTC, datetime, timedelta

from model_deployment.training_data.versions import Column, Version, Versions

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def kept(versions: Versions, content: bytes, experiment: str = "income", after: int = 0) -> Version:
    """Keep a file, and describe it as its upload would."""
    with versions.incoming() as folder:
        path = folder / "data.csv"
        path.write_bytes(content)
        return versions.keep(
            folder,
            Version(
                sha256=hashlib.sha256(content).hexdigest(),
                experiment=experiment,
                format="csv",
                rows=1,
                columns=(Column("a", "int64"),),
                bytes=len(content),
                uploaded_at=NOON + timedelta(seconds=after),
                uploaded_by=None,
                name="ärger.csv",
                path=path,
            ),
        )
