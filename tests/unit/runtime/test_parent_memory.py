"""What is remembered of the memory of warm parents."""

import mmap
import os
from pathlib import Path

import pytest

from model_deployment.runtime.parent_memory import ParentMemory, memory_of


def test_memory_of_a_parent_is_what_it_has_written() -> None:
    before = memory_of(os.getpid())
    # Not of the heap, where memory that was freed before would be used again.
    block = mmap.mmap(-1, 64 * 1024 * 1024, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for start in range(0, len(block), mmap.PAGESIZE):
        block[start] = 1
    after = memory_of(os.getpid())
    assert before is not None
    assert after is not None
    assert 60 * 1024 * 1024 < after - before < 80 * 1024 * 1024
    block.close()


def test_memory_of_a_process_that_is_gone_is_not_known() -> None:
    assert memory_of(2**22 + 1) is None


def test_next_controller_knows_what_a_parent_took(tmp_path: Path) -> None:
    path = tmp_path / "worker" / "memory.json"
    first = ParentMemory(path)
    assert first.known("a") is None
    first.measure({"a": os.getpid(), "starting": 0})
    took = first.known("a")
    assert took == ParentMemory(path).known("a") == pytest.approx(memory_of(os.getpid()), rel=0.1)
    assert ParentMemory(path).known("starting") is None
    first.keep({"b"})
    assert ParentMemory(path).known("a") is None


@pytest.mark.parametrize("content", ["", "[]", "[1]", '{"a": "x"}', '{"a": null}', "\x00"])
def test_damaged_file_costs_an_estimate_only(tmp_path: Path, content: str) -> None:
    path = tmp_path / "memory.json"
    path.write_text(content)
    memory = ParentMemory(path)
    assert memory.known("a") is None
    memory.measure({"a": os.getpid()})
    assert ParentMemory(path).known("a") is not None
