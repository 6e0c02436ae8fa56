"""A store of environments and their warm parents that do what a test says, at once."""

from collections.abc import Collection, Mapping
from pathlib import Path

from model_deployment.core.options import EnvManager
from model_deployment.environments.environment import (
    BuildFailed,
    Building,
    Environment,
    EnvironmentState,
    Failed,
    Ready,
)


class ScriptedStore:
    """One environment for all models whose names begin with the same letter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.states: dict[str, EnvironmentState] = {}
        self.builds = 0
        self.tidied: list[set[str]] = []
        self.failures: dict[str, str] = {}

    def digest(self, model: Path, manager: EnvManager) -> str:
        if not model.name:
            raise BuildFailed("there is no MLmodel file", permanent=True)
        return model.name[0]

    def known(self, model: Path, manager: EnvManager) -> str:
        return self.digest(model, manager) if model.name else ""

    def state(self, model: Path, manager: EnvManager) -> EnvironmentState:
        digest = self.digest(model, manager)
        if digest not in self.states:
            self.builds += 1
            self.states[digest] = Building("resolving")
        return self.states[digest]

    def take(self, model: Path, manager: EnvManager) -> Environment:
        found = self.states[self.digest(model, manager)]
        if isinstance(found, Failed):
            del self.states[self.digest(model, manager)]
            raise found.error
        if isinstance(found, Building):
            raise BlockingIOError("its environment is not ready")
        return found.environment

    def finish(self, digest: str, *, serves: bool = True) -> None:
        built = Environment(digest, self.folder / digest, "3.11.7", "2.22.0", serves=serves)
        self.states[digest] = Ready(built)

    def find(self, digest: str) -> Environment | None:
        found = self.states.get(digest)
        return found.environment if isinstance(found, Ready) else None

    def failure(self, digest: str) -> str:
        return self.failures.get(digest, "")

    def log(self, digest: str) -> Path:
        return self.folder / f"{digest}.log"

    def obstacle(self, manager: EnvManager) -> str:
        return ""

    def tidy(self, needed: Collection[str]) -> None:
        self.tidied.append({*needed})

    def sizes(self) -> Mapping[str, int]:
        return {one: 7 for one in self.states if self.find(one)}

    def close(self) -> None:
        return


class ScriptedParents:
    """Warm parents, of which there are those that the test names."""

    def __init__(self) -> None:
        self.waits = False
        self.wanted: list[str] = []
        self.pids: dict[str, int] = {}
        self.used: set[str] = set()

    def warming(self, built: Environment) -> bool:
        self.wanted.append(built.digest)
        return self.waits

    def misfit(self, built: Environment) -> str:
        return "" if built.serves else "it has no uvicorn"

    def was_used(self, digest: str) -> bool:
        return digest in self.used

    def missing_memory(self, digest: str, guess: int) -> int:
        return 0 if digest in self.pids else guess

    def tidy(self, needed: set[str]) -> None:
        return
