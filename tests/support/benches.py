"""The implementations of a runtime that the contract is tested with, each with what its bench needs."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from tests.support.container_bench import ContainerBench
from tests.support.engine import shared_engine
from tests.support.network_node import network_node
from tests.support.node_bench import NodeBench
from tests.support.runtime_bench import Bench, make_by_method, make_forkserver, make_serve

#: Makes a bench in a folder; the stack clears away what is below it.
MakeBench = Callable[[Path, contextlib.ExitStack], Bench]


def _node(root: Path, stack: contextlib.ExitStack) -> Bench:
    return NodeBench(stack.enter_context(network_node()), root)


#: Those whose launches are processes of this machine: their handles have a pid.
LOCAL: dict[str, MakeBench] = {
    "serve": lambda root, stack: Bench(make_serve, root),
    "forkserver": lambda root, stack: Bench(make_forkserver, root),
    "by method": lambda root, stack: Bench(make_by_method, root),
}
IMPLEMENTATIONS: dict[str, MakeBench] = {
    **LOCAL,
    "other network": _node,
    "container": lambda root, stack: ContainerBench(shared_engine(), root),
}
