"""A store of environments on an index of tiny wheels, for tests."""

import asyncio
import contextlib
import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_deployment.core.options import EnvManager
from model_deployment.environments.environment import BuildFailed, Environment, Failed, Ready
from model_deployment.environments.store import Environments
from tests.support import tiny_wheels
from tests.support.waiting import until

UV = EnvManager.UV
#: The Python of the tests, as models ask for it.
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


class EnvironmentBench:
    """An index, a place for models, and stores that follow each other as controllers do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = tiny_wheels.filled_index(folder / "index")
        self.root = folder / "environments"
        self.variables: dict[str, str] = tiny_wheels.offline(self.index, folder / "cache")
        self.changes = 0
        self.timeout = 140.0  # pip takes long beside other tests
        self._stores: list[Environments] = []
        self.store = self.restart()

    def restart(self) -> Environments:
        """The store of another controller; the one before is forgotten as if it was killed."""

        def changed() -> None:
            self.changes += 1

        self.store = Environments(
            root=self.root,
            environment=self._environment,
            timeout=self.timeout,
            changed=changed,
        )
        self._stores.append(self.store)
        return self.store

    def close(self) -> None:
        for store in self._stores:
            store.close()

    def model(self, name: str, requirements: str, **kwargs: Any) -> Path:
        return tiny_wheels.model(self.folder / "models" / name, requirements, **kwargs)

    async def built(self, model: Path, manager: EnvManager = UV) -> Environment:
        """The environment of a model.

        Raises:
            BuildFailed: it cannot be built.
        """

        def ended() -> bool:
            return isinstance(self.store.state(model, manager), Ready | Failed)

        while True:
            await until(ended, timeout=150, what="the end of a build")
            # One that was damaged just now is built again.
            with contextlib.suppress(BlockingIOError):
                return self.store.take(model, manager)

    async def failure(self, model: Path, manager: EnvManager = UV) -> BuildFailed:
        """Why that of a model cannot be built."""
        try:
            found = await self.built(model, manager)
        except BuildFailed as error:
            return error
        raise AssertionError(f"it was built: {found}")

    def drafts(self) -> list[str]:
        return sorted(path.name for path in self.root.glob("drafts/*"))

    def _environment(self, manager: EnvManager) -> Mapping[str, str]:
        return self.variables


def said(program: Path) -> str:
    """What a program without arguments writes."""
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout


def installed(environment: Environment) -> dict[str, str]:
    """The packages of an environment, as its own Python sees them."""
    ask = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
    )
    program = [str(environment.python), "-I", "-c", ask]
    told = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = json.loads(told)
    return found


async def _main(folder: str, name: str) -> None:
    """Build in a process of its own, which can be killed."""
    logging.basicConfig(level=logging.INFO)
    bench = EnvironmentBench(Path(folder))
    await bench.built(bench.folder / "models" / name)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
