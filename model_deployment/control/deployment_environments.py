"""The built environments of deployments: what is needed of them, what is kept, and what is shown."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_deployment.core.domain import Deployment, Desired, LaunchState, State
from model_deployment.core.options import Options
from model_deployment.runtime.environment_views import BuiltView, EnvironmentView, ParentView
from model_deployment.runtime.model_environments import ModelEnvironments


@dataclass(frozen=True, slots=True)
class DeploymentEnvironments:
    """Those of one controller."""

    #: None where none is built.
    environments: ModelEnvironments | None
    #: The folder of artifacts by their name, whether it is there or not.
    artifacts: Callable[[str], Path]
    #: Bytes of a warm parent that was never measured.
    guess: int

    async def view(self, row: Deployment) -> EnvironmentView | None:
        """The environment of a deployment, or of a change of it; None if it needs none."""
        if self.environments is None:
            return None
        return await self.environments.view(_options(row), self.artifacts(row.artifact))

    async def log(self, row: Deployment) -> Path | None:
        """The log of the build of a deployment's environment; None if there is none."""
        if self.environments is None:
            return None
        return await self.environments.log(_options(row), self.artifacts(row.artifact))

    def parent(self, artifact: str, options: Options) -> tuple[str, int]:
        """See :attr:`model_deployment.core.admission.Admission.parent`."""
        if self.environments is None:
            return "", 0
        model = self.artifacts(artifact) if artifact else None
        return self.environments.missing_parent(options, model, self.guess)

    async def tidy(self, rows: Sequence[Deployment]) -> None:
        """Remove environments that none of these deployments needs; build those that are gone.

        Raises:
            OSError: something could not be removed.
        """
        if (environments := self.environments) is not None:
            await environments.tidy(await environments.needed(self._needing(rows)))
            # They restart while the index is away, although they were started without what is built.
            environments.prepare(self._living(rows))

    def _living(self, rows: Sequence[Deployment]) -> Iterator[tuple[Options, Path]]:
        """Those of launches that answer, and of deployments that are parked."""
        for row in rows:
            if row.desired is Desired.RUNNING and row.state is State.PARKED:
                yield row.options, self.artifacts(row.artifact)
            for one in row.launches:
                if row.desired is Desired.RUNNING and one.state is LaunchState.READY:
                    yield one.options, self.artifacts(one.artifact)

    def _needing(self, rows: Sequence[Deployment]) -> Iterator[tuple[Options, Path]]:
        """Those of wanted deployments, of changes that are under way, and of launches that live."""
        for row in rows:
            if row.desired is Desired.RUNNING:
                yield row.options, self.artifacts(row.artifact)
                if row.replacement is not None:
                    yield row.replacement.options, self.artifacts(row.artifact)
            for one in row.launches:
                yield one.options, self.artifacts(one.artifact)

    async def parents(self) -> Sequence[ParentView]:
        """The warm parents, with their memory."""
        return await self.environments.parents() if self.environments else ()

    async def built(self) -> Sequence[BuiltView]:
        """The environments on the disk, with their sizes."""
        return await self.environments.built() if self.environments else ()


#: Nothing is built.
NO_ENVIRONMENTS = DeploymentEnvironments(None, Path, 0)


def _options(row: Deployment) -> Options:
    """Those of the next start."""
    it = row.replacement
    return it.options if it is not None and it.under_way else row.options
