"""The calls for training data: uploads, and the versions that are kept."""

from collections.abc import AsyncGenerator
from pathlib import Path

from model_deployment.client.aio.connection import AsyncConnection
from model_deployment.client.answers import DataVersion, DataVersionDetails, Uploaded
from model_deployment.client.exchange import data_of, path

_PORTION = 256 * 1024
#: Seconds that the check of a large file may take.
_CHECK = 1300.0
_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
}


async def _pieces(file: Path) -> AsyncGenerator[bytes, None]:
    with file.open("rb") as opened:
        while piece := opened.read(_PORTION):
            yield piece


def _headers(file: Path) -> dict[str, str]:
    return {
        "Content-Type": _MEDIA_TYPES.get(file.suffix.lower(), "application/octet-stream"),
        "Content-Length": str(file.stat().st_size),
    }


class AsyncTrainingData(AsyncConnection):
    """Versions of the training data, which are named by the SHA-256 of their files."""

    async def upload_data(
        self, file: str | Path, experiment: str, *, run: bool = True, name: str | None = None
    ) -> Uploaded:
        """Upload a CSV or Parquet file as new training data of an experiment.

        Args:
            file: sent piece by piece, so it may be larger than the memory.
            run: start the full flow with it.
            name: of the file, for people; by default its own.

        Raises:
            ApiError: 409 the same file is kept already, and ``problem["sha256"]`` names it; 422 it does not
                fit the original data of the experiment, and ``problem["errors"]`` has each column.
        """
        source = Path(file)
        params = {"experiment": experiment, "run": run, "name": name or source.name}
        async with self.open(
            "POST",
            "/upload_data",
            params=params,
            content=_pieces(source),
            headers=_headers(source),
            timeout=_CHECK,
        ) as answer:
            await answer.aread()
            found: Uploaded = data_of(answer)
            return found

    async def data_versions(
        self, experiment: str | None = None, *, limit: int | None = None
    ) -> list[DataVersion]:
        """The versions that are kept, the newest first."""
        found: list[DataVersion] = await self.items("/datasets", {"experiment": experiment}, limit)
        return found

    async def data_version(self, sha256: str) -> DataVersionDetails:
        """One version, with its analyses and the models that were trained on it."""
        found: DataVersionDetails = await self.data("GET", path("/datasets/{}", sha256))
        return found

    async def data_report(self, sha256: str, experiment: str) -> str:
        """The page of a version's newest analysis for an experiment: HTML.

        Raises:
            ApiError: 404 there is no such version, or no analysis of it.
        """
        params = {"experiment": experiment}
        return (await self.request("GET", path("/datasets/{}/report", sha256), params=params)).text

    async def save_data(self, sha256: str, file: str | Path) -> Path:
        """The file of a version, as it was uploaded. A file that could not be written whole is removed."""
        return await self._save(Path(file), path("/datasets/{}/file", sha256), {})

    async def delete_data(self, sha256: str) -> None:
        """Delete a version with its analyses.

        Raises:
            ApiError: 409 a run uses it.
        """
        await self.request("DELETE", path("/datasets/{}", sha256))
