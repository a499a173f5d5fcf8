"""From a recorded graph to something that runs: the one place that joins the levels.

passes → lower → schedule → emit → load. With `SMELT_DUMP=folder` each compilation leaves a numbered
folder there: the graph after every pass, the loop IR of each kernel before and after scheduling,
the LLVM IR and the assembly.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from smelt.hosted import HostedProgram, has_calls
from smelt.ir.errors import LoweringError
from smelt.ir.graph import Graph
from smelt.ir.text.printer import fingerprint
from smelt.runtime import (
    Executable,
    build_support,
    cache_key,
    default_cache,
    get_num_threads,
    signature_of,
)
from smelt.runtime.artifact import load_cached, store_cached

if TYPE_CHECKING:
    from smelt.codegen.target import Target
    from smelt.ir.loop.grammar import Program

DUMP_VARIABLE = "SMELT_DUMP"
_compiling = threading.Lock()
_dumped = 0


def compile_graph(
    graph: Graph,
    strides: Sequence[Sequence[int] | None] | None = None,
    donated: Mapping[int, int] | None = None,
    frozen: AbstractSet[int] = frozenset(),
) -> Executable | HostedProgram:
    """Return the executable of a graph, from the disk cache if it is known there.

    A graph with library calls in it is run in parts, which are not cached.

    Args:
        graph: any graph; `grad` nodes and composites included.
        strides: strides of each input in elements; None for a row-major one, or for all.
        donated: for each output that is written into the storage of an input, that input's number.
        frozen: numbers of inputs that seldom change: the executable may keep what is derived from
            them between calls. Programs with library calls keep nothing.

    Raises:
        SmeltError: the graph cannot be compiled; nothing has changed.
    """
    layouts = [None if s is None else tuple(s) for s in strides or [None] * len(graph.inputs)]
    target = host_target(get_num_threads())
    cache = default_cache()
    folder = _dump_folder(graph.name)
    arguments = repr((layouts, sorted((donated or {}).items()), sorted(frozen), target))
    key = cache_key("executable", fingerprint(graph), graph.name, arguments)
    if folder is None:
        known = load_cached(cache, key)
        if known is not None:
            return known
    _refuse_complex(graph)
    # LLVM and the passes are safe to run side by side, but two cores gain nothing from it.
    with _compiling, _forgetting():
        optimised = optimise(graph, folder)
        if has_calls(optimised):
            return HostedProgram(
                optimised,
                layouts,
                donated or {},
                lambda part: _compile(part, (), {}, frozenset(), target, folder),
            )
        executable = _compile(optimised, layouts, donated or {}, frozen, target, folder)
    store_cached(cache, key, executable)
    return executable


@contextmanager
def _forgetting() -> Generator[None]:
    """Let go of what the compiler remembers of this compilation's nodes at its end."""
    from smelt.ir.index_map import forget_nodes

    try:
        yield
    finally:
        forget_nodes()


def _refuse_complex(graph: Graph) -> None:
    for node in graph.walk():
        found = [v.type for v in (*node.outputs, *node.inputs) if v.type.dtype.is_complex]
        if found and not node.regions:
            where = "" if node.location is None else f"{node.location}: "
            raise LoweringError(
                f"{where}{node.op.name} has to do with {found[0]}, and complex numbers are not "
                "compiled yet: call it outside of the compiled function"
            )


@lru_cache(maxsize=8)
def host_target(threads: int) -> Target:
    """Return the description of this machine with a number of threads."""
    from smelt.codegen.target import host

    return host(threads)


def optimise(graph: Graph, folder: Path | None = None) -> Graph:
    """Return what the pipeline makes of a graph: fusion groups of primitives.

    Args:
        graph: any graph.
        folder: receives the graph after every pass; None: nothing is written.
    """
    from smelt.passes import pipeline
    from smelt.passes.base import Dump

    return pipeline.optimise(graph, () if folder is None else (Dump(folder),))


def lower(
    graph: Graph,
    target: Target,
    layouts: Sequence[tuple[int, ...] | None] = (),
    donated: Mapping[int, int] | None = None,
    frozen: AbstractSet[int] = frozenset(),
) -> tuple[Program, Program]:
    """Return the program of an optimised graph, as lowered and as scheduled for `target`."""
    from smelt.codegen.lower.program import lower as lower_graph
    from smelt.codegen.schedule.pipeline import schedule_kernel
    from smelt.passes.memory_plan import plan_memory

    program = lower_graph(graph, target, input_layouts=layouts, donate=donated, frozen=frozen)
    planned = plan_memory(program, donated)
    kernels = tuple(schedule_kernel(kernel, target) for kernel in planned.kernels)
    return program, replace(planned, kernels=kernels)


def _compile(
    graph: Graph,
    layouts: Sequence[tuple[int, ...] | None],
    donated: Mapping[int, int],
    frozen: AbstractSet[int],
    target: Target,
    folder: Path | None,
) -> Executable:
    from smelt.codegen.llvm.module import compile_ir_text, emit_program

    program, scheduled = lower(graph, target, layouts, donated, frozen)
    emission = emit_program(scheduled, target)
    if folder is not None:
        number = len(list(folder.glob("*.txt")))
        _dump_program(folder / f"{number:03d}_lowered", program)
        _dump_program(folder / f"{number + 1:03d}_scheduled", scheduled)
        (folder / f"{number + 2:03d}_llvm.ll").write_text(emission.llvm_ir)
        (folder / f"{number + 3:03d}_assembly.s").write_text(emission.assembly)
    support = build_support(compile_ir_text, target.triple, target, default_cache())
    return Executable(signature_of(scheduled), emission.object, scheduled.constants, support)


def _dump_folder(name: str) -> Path | None:
    global _dumped
    root = os.environ.get(DUMP_VARIABLE)
    if not root:
        return None
    with _compiling:
        number = _dumped
        _dumped += 1
    folder = Path(root) / f"{number:03d}_{name}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _dump_program(path: Path, program: Program) -> None:
    """Write a program, and each of its kernels to a file of its own beside it."""
    from smelt.ir.loop.printer import print_kernel, print_program

    path.with_suffix(".txt").write_text(print_program(program) + "\n")
    path.mkdir(exist_ok=True)
    for number, kernel in enumerate(program.kernels):
        (path / f"{number:03d}_{kernel.name}.txt").write_text(print_kernel(kernel) + "\n")
