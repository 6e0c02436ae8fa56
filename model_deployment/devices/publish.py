"""Makes releases: fetches the files of a version, tries the model, writes and signs the manifest."""

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from model_deployment.core.devices import DeviceProject
from model_deployment.core.errors import DiskFull, ModelDeploymentError, Unavailable
from model_deployment.core.releases import Release
from model_deployment.devices.blobs import BlobStore, WrongContent
from model_deployment.devices.manifest import ReleaseManifest, wanted_blobs
from model_deployment.devices.model_files import ModelFiles
from model_deployment.devices.release_trials import ONNX_FILE, ReleaseTrials
from model_deployment.devices.signing import KeyFile
from model_deployment.registry.artifacts import Damaged

_log = logging.getLogger(__name__)

#: How long a manifest is good, and what is left of that when it is signed anew.
LIFETIME, RENEWAL = timedelta(days=90), timedelta(days=45)
#: Seconds between two tries to put back the files of a release.
PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """The manifest of a release, as it is signed, and its signature in base64."""

    manifest: str
    signature: str


class ReleasePublisher:
    """Prepares releases, and keeps their files whole."""

    def __init__(
        self,
        *,
        key: KeyFile,
        blobs: BlobStore,
        files: ModelFiles,
        trying: ReleaseTrials,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: float = PAUSE,
    ) -> None:
        """``pause``: seconds between two tries to put back the files of a release."""
        self.blobs = blobs
        self._key = key
        self._files = files
        self._trying = trying
        self._now = now
        self._pause = pause
        self._restoring: dict[int, asyncio.Task[None]] = {}

    def open(self) -> None:
        """Make the folders, and remove what an interrupted controller left."""
        self.blobs.open()
        self._trying.open()

    async def close(self) -> None:
        """Cancel what goes on in the background."""
        tasks = [*self._restoring.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def prepare(self, project: DeviceProject, release: Release) -> Prepared:
        """Make the files of a release, and sign its manifest.

        Raises:
            UnknownModel: the registry has no such version.
            Conflict: the version is not complete in the registry.
            UnfitRelease: its files cannot be released.
            UnusableKey: it cannot be signed.
            DiskFull: there is no room for its files.
            Unavailable: the registry or the disk does not answer.
        """
        with _explained(f"release {release.key}"):
            await self._key.get()  # first: without it all other work is in vain
            model = await self._files.fetch(release.key)
            tried = await self._trying.run(model)
            manifest = ReleaseManifest(
                project=project.name,
                number=release.number,
                key=release.key,
                created=self._now(),
                expires=self._now() + LIFETIME,
                files=model.files,
                onnx=tried.onnx,
                reverts=release.reverts,
            )
            return await self._signed(tried.put_into(manifest))

    async def renew(self, project: DeviceProject, release: Release) -> Prepared:
        """Sign a release anew, under the same number, after making sure of its files.

        Where its ONNX form is gone and the libraries make another one by now, it gets that.

        Raises:
            Unavailable: a file is gone, and the registry has other files under this version by now.
            ModelDeploymentError: as :meth:`prepare`.
        """
        with _explained(f"renew release {release.number} of {project.name}"):
            before = await asyncio.to_thread(ReleaseManifest.parse, release.manifest)
            manifest = await self._with_files(before)
            return await self._signed(
                replace(manifest, created=self._now(), expires=self._now() + LIFETIME)
            )

    async def restore(self, release: Release) -> None:
        """Put back files of a release that are missing or damaged, from the registry.

        Raises:
            Unavailable: they are not to be had as they were.
            ModelDeploymentError: as :meth:`prepare`.
        """
        with _explained(f"put back the files of {release.key}"):
            manifest = await asyncio.to_thread(ReleaseManifest.parse, release.manifest)
            if await self._with_files(manifest) != manifest:
                raise Unavailable(
                    f"cannot put back the ONNX form of {release.key}: the libraries make another one now "
                    "than when it was released; set the model again"
                )

    def restore_soon(self, release: Release) -> None:
        """Put back files in the background; failures are logged, and it is tried again after a pause."""
        if release.id not in self._restoring:
            task = asyncio.create_task(self._restore(release), name=f"restore {release.key}")
            self._restoring[release.id] = task
            task.add_done_callback(lambda _: self._restoring.pop(release.id, None))

    async def _restore(self, release: Release) -> None:
        try:
            await self.restore(release)
        except ModelDeploymentError as error:
            _log.error("%s", error.detail)
        except Exception:
            _log.exception("cannot put back the files of %s", release.key)
        else:
            _log.info("the files of %s are there again", release.key)
            return
        await asyncio.sleep(self._pause)

    async def tidy(self, manifests: Sequence[str]) -> None:
        """Remove the files that no release needs.

        Args:
            manifests: of all releases whose files stay.
        """

        def work() -> int:
            return self.blobs.tidy({*wanted_blobs(manifests)})

        if removed := await asyncio.to_thread(work):
            _log.info("removed %s files that no release needs", removed)

    async def _signed(self, manifest: ReleaseManifest) -> Prepared:
        key = await self._key.get()
        text = await asyncio.to_thread(manifest.text)
        return Prepared(text, key.sign(text))

    async def _with_files(self, manifest: ReleaseManifest) -> ReleaseManifest:
        """Put missing files back; with another ONNX form if the one before cannot be made again."""
        gone = await asyncio.to_thread(
            lambda: [one for one in manifest.files if self.blobs.checked(one.sha256) is None]
        )
        if not gone:
            return manifest
        _log.warning("%s files of %s are missing, and are fetched again", len(gone), manifest.key)
        model = await self._files.fetch(manifest.key)
        if {*model.files} != {one for one in manifest.files if one.path != ONNX_FILE}:
            raise Unavailable(
                f"cannot put back the files of {manifest.key}: the registry has other files under this "
                "version than when it was released; set the model again"
            )
        if all(one.path != ONNX_FILE for one in gone):
            return manifest
        made = (await self._trying.run(model)).put_into(manifest)
        # Answers may have other last digits: those that are signed belong to the same files.
        return manifest if made.files == manifest.files else made


def due(manifest: str, now: datetime) -> bool:
    """Whether a release that is wanted has to be signed anew."""
    return ReleaseManifest.parse(manifest).expires - now < RENEWAL


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn what files and disks raise into errors that say what was to be done."""
    try:
        yield
    except ModelDeploymentError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"cannot {what}: the disk of the data directory is full; free some space, then set the "
                "model again"
            ) from error
        raise Unavailable(f"cannot {what}: {error.strerror or error}") from error
    except (Damaged, WrongContent, ValueError) as error:
        raise Unavailable(f"cannot {what}: {error}") from error
