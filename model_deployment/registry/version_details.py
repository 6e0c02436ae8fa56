"""All that the registry says of one version: its run, its model, and what the model needs.

Read once, the details of a version stay available while the registry is away: a file for each registration
keeps them. MLflow is asked for the ``MLmodel`` file and the requirements alone, never for a whole model.
"""

import asyncio
import json
import re
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from model_deployment.core.errors import ModelDeploymentError, RegistryUnavailable, UnknownModel
from model_deployment.core.names import ModelKey
from model_deployment.registry.client import Registry
from model_deployment.registry.errors import found_or_none
from model_deployment.registry.kept_copies import keep_renewed, write_copy
from model_deployment.registry.mlmodel import MLmodelReader
from model_deployment.registry.model_metrics import metrics_of
from model_deployment.registry.run_metrics import logged_model, user_of
from model_deployment.registry.values import RegisteredVersion, read_version, shown

_FILE = "registered.json"
#: Seconds that details are not asked for again, and that the registry may take if stored ones can be shown.
_FRESH, _PATIENCE = 15.0, 3.0
#: Seconds after which stored details are read again in the background.
_OLD = 3600.0
#: Versions that are remembered in memory.
_ENTRIES = 500
#: Files of a model that are read, and the most bytes of each.
_MODEL_FILES = ("MLmodel", "requirements.txt")
_MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class VersionDetails:
    """A version as the registry describes it."""

    key: ModelKey
    created_at: datetime
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    run_id: str | None = None
    #: Page of the run; None if the registry has no web pages.
    run_url: str | None = None
    source: str = ""
    user: str = ""
    #: Flavors of the model, each with the version of its library, or empty.
    flavors: dict[str, str] = field(default_factory=dict)
    #: Finite metrics of the run and of the logged model, without those that were written from here.
    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    requirements: list[str] = field(default_factory=list)
    #: In MLflow's JSON form; None without a signature, or if the files cannot be read.
    signature: dict[str, Any] | None = None
    #: Name of the registration's artifacts.
    artifact: str = ""
    #: When they were read, if the registry did not answer now.
    as_of: datetime | None = None


#: The folder with a deployed model's files and the name of its artifacts; None if it is not deployed.
FindFiles = Callable[[ModelKey], Awaitable[tuple[Path, str] | None]]


class DetailsReader:
    """Reads the details of versions, and remembers them in files."""

    def __init__(self, registry: Registry, root: Path, files: FindFiles, pages: str = "") -> None:
        """Remember the sources.

        Args:
            root: has one folder for each registration.
            pages: address of the registry's web pages; empty if it has none.
        """
        self._registry = registry
        self._root = root
        self._files = files
        self._pages = shown(pages).rstrip("/") if re.match(r"https?://", pages) else ""
        self._reader = MLmodelReader()
        self._known: dict[ModelKey, tuple[float, VersionDetails]] = {}
        self._away_until = 0.0

    async def of(self, key: ModelKey) -> VersionDetails:
        """The details of a version: from the registry, else the stored ones.

        Raises:
            UnknownModel: there is no such version.
            RegistryUnavailable: the registry does not answer, and no details are stored.
        """
        found = await self._files(key)
        folder, artifact = found or (None, "")
        at, known = self._known.get(key, (0.0, None))
        if known is not None and known.artifact != (artifact or known.artifact):
            known = None  # the name stands for another registration
        if known is not None and time.monotonic() < at + _FRESH:
            return known
        stored = await asyncio.to_thread(_read, self._root, key, artifact) or known
        if stored is not None and time.monotonic() < self._away_until:
            return stored
        try:
            async with asyncio.timeout(_PATIENCE if stored else None):
                return await self._fetch(key, folder, stored)
        except (RegistryUnavailable, TimeoutError):
            self._away_until = time.monotonic() + _FRESH
            if stored is None:
                raise
            return stored

    async def find(self, key: ModelKey) -> VersionDetails | None:
        """The same, within seconds; None if the details cannot be read now."""
        if time.monotonic() < self._away_until:
            found = await self._files(key)
            return await asyncio.to_thread(_read, self._root, key, found[1] if found else "")
        try:
            async with asyncio.timeout(_PATIENCE + 0.5):
                return await self.of(key)
        except TimeoutError:
            # Nothing is stored, or it would have come in time. Others need not wait as long.
            self._away_until = time.monotonic() + _FRESH
        except ModelDeploymentError:
            pass
        return None

    async def run(self, deployed: Callable[[], Awaitable[Sequence[ModelKey]]]) -> None:
        """Read and store the details of all deployments ahead of time, until cancelled."""
        await keep_renewed(deployed, self._renew, "what the registry says of deployments")

    async def _renew(self, key: ModelKey) -> None:
        at, known = self._known.get(key, (0.0, None))
        if known is not None and known.as_of is None and time.monotonic() < at + _OLD:
            return
        with suppress(UnknownModel):  # deleted in the registry
            details = await self.of(key)
            if details.as_of is not None:
                raise RegistryUnavailable(f"cannot look up {key} now", retry_after=10)

    async def _fetch(
        self, key: ModelKey, folder: Path | None, stored: VersionDetails | None
    ) -> VersionDetails:
        details = await self._registry.ask(
            f"look up {key}", partial(_read_details, key, self._pages), about=key
        )
        kept = None
        if stored is not None and stored.artifact == details.artifact and stored.flavors:
            details = replace(  # the files of a registration never change
                details,
                flavors=stored.flavors,
                requirements=stored.requirements,
                signature=stored.signature,
            )
        elif folder is not None and (folder / _MODEL_FILES[0]).is_file():
            details = await asyncio.to_thread(self._with_files, details, folder)
        else:
            kept, details = await self._with_downloaded(details)
        self._known[key] = (time.monotonic(), details)
        while len(self._known) > _ENTRIES:
            self._known.pop(next(iter(self._known)))
        await asyncio.to_thread(_write, self._root / details.artifact / _FILE, kept or details)
        return details

    async def _with_downloaded(
        self, details: VersionDetails
    ) -> tuple[VersionDetails, VersionDetails]:
        """What to keep, and with what the files say as far as they can be read: the rest matters more.

        What files say that came in part is not kept, since what is kept of a registration stays.
        """
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="mlmodel-"))
        complete = False
        try:
            with suppress(ModelDeploymentError):
                await self._registry.ask(
                    f"read the files of {details.key}",
                    partial(self._registry.download_files, details.key, folder, _MODEL_FILES),
                )
                complete = True
            read = await asyncio.to_thread(self._with_files, details, folder)
            return read if complete else details, read
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)

    def _with_files(self, details: VersionDetails, folder: Path) -> VersionDetails:
        flavors = self._reader.flavors(folder)
        return replace(
            details,
            flavors=_flavors(flavors if isinstance(flavors, dict) else {}),
            requirements=_requirements(folder / _MODEL_FILES[1]),
            signature=self._reader.read(folder)[0],
        )


def _read_details(key: ModelKey, pages: str, client: Any) -> VersionDetails:
    version = client.get_model_version(key.model, str(key.version))
    aliases = client.get_registered_model(key.model).aliases
    run = found_or_none(client.get_run, version.run_id) if version.run_id else None
    model_id = logged_model(version)
    model = found_or_none(client.get_logged_model, model_id) if model_id else None
    metrics = metrics_of(run, model)
    found: RegisteredVersion = read_version(version, aliases, {}, user_of(run) if run else "")
    params = dict(run.data.params) if run else {}
    params |= dict(getattr(model, "params", None) or {})
    url = None
    if pages and run:
        url = f"{pages}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    return VersionDetails(
        key=key,
        created_at=found.created_at,
        description=found.description,
        tags=found.tags,
        aliases=found.aliases,
        run_id=found.run_id,
        run_url=url,
        source=found.source,
        user=found.user,
        metrics=metrics,
        params={str(name): str(value) for name, value in params.items()},
        artifact=found.artifact,
    )


def _flavors(flavors: Mapping[str, Any]) -> dict[str, str]:
    """Each flavor with the version of its library, where the file names one."""
    found = {}
    for name, settings in flavors.items():
        items = settings.items() if isinstance(settings, dict) else ()
        named = (str(value) for at, value in items if str(at).endswith("_version"))
        found[str(name)] = next(named, "")
    return found


def _requirements(file: Path) -> list[str]:
    try:
        if file.stat().st_size > _MOST_BYTES:
            return []
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    plain = (line.partition(" #")[0].strip() for line in lines)
    return [shown(line) for line in plain if line and not line.startswith("#")]


def _read(root: Path, key: ModelKey, artifact: str) -> VersionDetails | None:
    """Stored details: of the named artifacts, else of the newest registration of the version."""
    if artifact:
        folders = [root / artifact]
    else:
        own = re.compile(re.escape(str(key)) + r"-(\d{9,})")
        named = ((own.fullmatch(one.name), one) for one in root.glob(f"{key}-*"))
        folders = [one for _, one in sorted((int(m[1]), one) for m, one in named if m)[::-1]]
    return next(filter(None, (_parsed(folder / _FILE, key) for folder in folders)), None)


def _parsed(file: Path, key: ModelKey) -> VersionDetails | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        times = {name: datetime.fromisoformat(found[name]) for name in ("created_at", "as_of")}
        return VersionDetails(**{**found, **times, "key": key})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(file: Path, details: VersionDetails) -> None:
    content = {**asdict(details), "as_of": datetime.now(UTC).isoformat()}
    content["created_at"] = details.created_at.isoformat()
    del content["key"]
    write_copy(file, content)
