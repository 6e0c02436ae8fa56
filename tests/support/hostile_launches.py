"""Launches in containers whose models do what they like: the programs of tests."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from model_deployment.core.domain import Handle
from model_deployment.core.options import Options
from tests.support.container_bench import ContainerBench

MEGABYTE = 1024 * 1024


class Hostiles(ContainerBench):
    """Launches that run the program that is among their artifacts."""

    async def attack(self, program: str, **options: Any) -> Handle:
        """Start a program, with 256 MB and a processor unless ``options`` say otherwise."""
        spec = self.spec()
        self.write(spec.model_path, program)
        limits = Options(memory_limit=256 * MEGABYTE, cpu_limit=1.0)
        return await self.runtime.start(replace(spec, options=replace(limits, **options)))

    @staticmethod
    def write(model: str, program: str) -> None:
        Path(model, "program.py").write_text(program)

    async def findings(self, handle: Handle) -> Mapping[str, Any]:
        """What a program has written as JSON in its last line, once it has ended."""
        await self.ended(handle)
        found = (await self.runtime.tail(handle.launch_id, 1000)).splitlines()
        assert found[-1].startswith("{"), found[-20:]
        return dict(json.loads(found[-1]))
