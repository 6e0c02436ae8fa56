"""Calls the MLflow registry, each call within a time limit.

MLflow's client blocks, retries for minutes and has no overall deadline. So each call runs on a daemon
thread and the caller waits for a limited time; a hung thread is abandoned. Downloads, which may take half
an hour, have slots of their own, so that a look-up never waits for one. MLflow is imported with the first
call, so that a controller that was killed serves again at once.
"""

import asyncio
import logging
import shutil
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from model_deployment.core.errors import ModelDeploymentError, RegistryUnavailable, UnknownModel
from model_deployment.core.names import NAME, ModelKey
from model_deployment.registry.aliases import read_aliases
from model_deployment.registry.errors import (
    RegistryUnusable,
    check_artifacts,
    check_file,
    explain,
    explain_artifacts,
    first_line,
    found_or_none,
    is_absent,
    is_absent_file,
    no_model,
)
from model_deployment.registry.mlflow_client import connect, create_database, import_mlflow
from model_deployment.registry.mlflow_server import MlflowServer
from model_deployment.registry.run_metrics import RunMetrics
from model_deployment.registry.threads import DaemonThreads
from model_deployment.registry.values import (
    RegisteredModel,
    RegisteredVersion,
    in_words,
    read_model,
    read_version,
    shown,
)
from model_deployment.registry.version_list import VersionRange, all_pages, read_versions

T = TypeVar("T")
_log = logging.getLogger(__name__)

#: Concurrent calls, hung ones included.
_LOOKUPS = 8
_DOWNLOADS = 4
_ALIAS_LOOKUPS = 2
#: Share of the time for a list of versions that their metrics may take.
_METRICS_SHARE = 0.8
#: Names that are compared with a misspelt one.
_NAMES = 1000


class Registry:
    """Reads registered models, and downloads their artifacts."""

    def __init__(
        self,
        *,
        tracking_uri: str,
        registry_uri: str,
        timeout: float,
        download_timeout: float,
        own: bool = False,
    ) -> None:
        """``own``: the registry is a database in the data directory, which is created if missing."""
        self._own = own
        self._tracking_uri = tracking_uri
        self._registry_uri = registry_uri
        self._timeout = timeout
        self._download_timeout = download_timeout
        self._lookups = DaemonThreads("registry", _LOOKUPS)
        self._downloads = DaemonThreads("download", _DOWNLOADS)
        # Apart from the others: aliases are looked up all the time, also while the registry hangs.
        self._alias_lookups = DaemonThreads("aliases", _ALIAS_LOOKUPS)
        self._metrics = RunMetrics()
        servers = {uri: MlflowServer(uri) for uri in (tracking_uri, registry_uri)}
        self._tracking, self._server = servers[tracking_uri], servers[registry_uri]
        self._client: Any = None
        self._client_lock = threading.Lock()

    async def models(self) -> list[RegisteredModel]:
        """All registered models.

        Raises:
            RegistryUnavailable: the registry did not answer in time.
        """
        return await self.ask("list the registered models", _models)

    async def versions(
        self,
        name: str,
        *,
        limit: int | None = None,
        before: int | None = None,
        patience: float | None = None,
    ) -> list[RegisteredVersion]:
        """The versions of a model, newest first, with the metrics of their runs.

        Metrics of ended runs are remembered for some minutes. Metrics that are late or fail are left out:
        the list matters more.

        Args:
            limit: versions at most; None: all.
            before: only versions with a lower number.
            patience: seconds that metrics may take; None: most of what a look-up may take.

        Raises:
            UnknownModel: there is no such model.
            RegistryUnavailable: the registry did not answer in time.
        """
        share = _METRICS_SHARE * self._timeout
        end = time.monotonic() + (share if patience is None else min(share, patience))
        return await self.ask(
            f"list the versions of {name}",
            partial(read_versions, name, VersionRange(limit, before), self._metrics, end),
            about=name,
        )

    async def registered(self, key: ModelKey) -> RegisteredVersion | None:
        """One version with the metrics of its run; None if there is none. Raises as :meth:`versions`."""
        found = await self.versions(key.model, limit=1, before=key.version + 1)
        return next((one for one in found if one.key == key), None)

    async def version(self, key: ModelKey) -> RegisteredVersion:
        """
        Raises:
            UnknownModel: there is no such version.
            RegistryUnavailable: the registry did not answer in time.
        """
        return await self.ask(f"look up {key}", partial(_version, key), about=key)

    async def aliases(self, model: str) -> dict[str, int]:
        """The version that each alias of a model names. Similar names of models are not suggested.

        Raises:
            UnknownModel: there is no such model.
            RegistryUnavailable: the registry did not answer in time.
        """
        what, work = f"look up the aliases of {model}", partial(read_aliases, model, self._server)
        return await self.ask(what, work, threads=self._alias_lookups)

    async def download(self, key: ModelKey, destination: Path) -> Path:
        """Download the artifacts of a version below ``destination``, which is created.

        An abandoned download cannot be stopped. It removes ``destination`` when it ends.

        Raises:
            UnknownModel: there is no such version.
            RegistryUnavailable: the download failed, or took too long.
        """

        def work() -> Path:
            client = self._open_client()
            from mlflow import artifacts

            # Looked up first: a later failure concerns the store of the artifacts.
            client.get_model_version(key.model, str(key.version))
            destination.mkdir(parents=True)
            try:
                found = artifacts.download_artifacts(
                    artifact_uri=f"models:/{key.model}/{key.version}",
                    dst_path=str(destination),
                    tracking_uri=self._tracking_uri,
                    registry_uri=self._registry_uri,
                )
                check_artifacts(Path(found))
            except Exception as error:
                why = explain_artifacts(error, self._address)
                raise RegistryUnavailable(
                    f"cannot download {key}: {why}", retry_after=10
                ) from error
            return Path(found)

        clear = partial(shutil.rmtree, destination, ignore_errors=True)
        call = partial(self._downloads.run, work, late=clear)
        return await self._limited(f"download {key}", self._download_timeout, call)

    def download_files(
        self, key: ModelKey, destination: Path, names: Sequence[str], client: Any
    ) -> None:
        """Download single files of a version; those that it has not are left out. Blocks."""
        from mlflow import artifacts

        for name in names:
            try:
                artifacts.download_artifacts(
                    artifact_uri=f"models:/{key.model}/{key.version}/{name}",
                    dst_path=str(destination),
                    tracking_uri=self._tracking_uri,
                    registry_uri=self._registry_uri,
                )
            except Exception as error:
                if not is_absent_file(error):
                    raise

    async def ask(
        self,
        what: str,
        work: Callable[[Any], T],
        *,
        about: ModelKey | str | None = None,
        threads: DaemonThreads | None = None,
        limit: float | None = None,
        late: Callable[[], None] = lambda: None,
    ) -> T:
        """Run ``work`` with MLflow's client on a thread.

        Args:
            what: the purpose; messages begin with "cannot" and the purpose, unless it is empty.
            about: the version or model that the call concerns, for suggestions if it does not exist.
            threads: whose slots to use; those of look-ups if None.
            limit: seconds the call may take; those of a look-up if None.
            late: called on the thread when ``work`` ends after its caller gave up.

        Raises:
            UnknownModel: what was asked for does not exist.
            RegistryUnavailable: the registry did not answer in time.
        """
        run = (threads or self._lookups).run
        limit = self._timeout if limit is None else limit
        try:
            call = partial(run, lambda: work(self._open_client()), late)
            return await self._limited(what, limit, call)
        except UnknownModel as error:
            found = ""
            if about is not None:
                with suppress(ModelDeploymentError):
                    found = await self.ask("", partial(_suggest, about))
            if not found:
                raise
            raise UnknownModel(_cannot(what, found)) from error

    def metrics_written(self, *ids: str) -> None:
        """Forget the metrics of these runs or logged models, because metrics were written to them."""
        for id in ids:
            self._metrics.forget(id)

    async def warm_up(self) -> None:
        """Import MLflow and connect before the first call, which reports failures."""
        try:
            await self.ask("connect", lambda client: None)
        except ModelDeploymentError as error:
            _log.warning("%s", error.detail)

    def _open_client(self) -> Any:
        with self._client_lock:
            if self._client is None:
                check_file(self._registry_uri)
                import_mlflow()
                if self._own:
                    create_database(self._registry_uri)
                self._client = connect(self._tracking, self._server, self._timeout)
            return self._client

    async def _limited(self, what: str, limit: float, call: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(limit):
                return await call()
        except TimeoutError:
            why = f"no answer from the MLflow registry at {self._address} within {limit:g} s"
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    why = await asyncio.to_thread(self._locked) or why
            raise RegistryUnavailable(_cannot(what, why), retry_after=10) from None
        except ModelDeploymentError:
            raise
        except Exception as error:
            self._tracking.doubt()
            self._server.doubt()
            raise _translate(what, error, self._address, self._release) from error

    def _locked(self) -> str:
        """Why the file of the registry did not answer; empty if it is not a file, or is free."""
        try:
            check_file(self._registry_uri)
        except RegistryUnusable as error:
            return explain(error, self._address)
        return ""

    @property
    def _address(self) -> str:
        return shown(self._registry_uri)

    @property
    def _release(self) -> str:  # of two servers nothing says which one failed
        return self._server.last_version if self._server is self._tracking else ""


def _models(client: Any) -> list[RegisteredModel]:
    return [read_model(model) for model in all_pages(client.search_registered_models)]


def _version(key: ModelKey, client: Any) -> RegisteredVersion:
    return read_version(client.get_model_version(key.model, str(key.version)), {}, {})


def _suggest(about: ModelKey | str, client: Any) -> str:
    """Existing models or versions that may be meant; empty if this one exists."""
    name = about if isinstance(about, str) else about.model
    if found_or_none(client.get_registered_model, name) is None:
        found = client.search_registered_models(max_results=_NAMES)
        # Only names that could be deployed: others may contain anything, even a script.
        return no_model(name, [one.name for one in found if NAME.fullmatch(one.name)])
    page = client.search_model_versions(f"name='{name}'", max_results=1000)
    versions = {int(one.version) for one in page}
    if isinstance(about, str) or about.version in versions:
        return ""  # something else is missing
    more = ", and more" if page.token else ""
    return f"the registry has no version {about.version} of {name}, which has {in_words(versions)}{more}"


def _translate(what: str, error: Exception, registry: str, version: str) -> ModelDeploymentError:
    if is_absent(error):
        return UnknownModel(_cannot(what, f"the registry says: {first_line(error)}"))
    refusal = RegistryUnavailable(_cannot(what, explain(error, registry, version)), retry_after=10)
    _log.warning("registry call failed: %s", refusal.detail)
    return refusal


def _cannot(what: str, why: str) -> str:
    return f"cannot {what}: {why}" if what else why
