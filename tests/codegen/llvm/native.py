"""Run programs of loop IR as machine code, for tests of the emitter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from smelt.codegen.llvm.module import Emission, emit_program
from smelt.codegen.target import Target, host, narrowed
from smelt.ir.dtypes import DType
from smelt.ir.loop.grammar import Buffer, Kernel, Launch, Place, Program, row_major_buffer
from smelt.runtime import pool_ir
from smelt.runtime.executable import Executable
from smelt.runtime.signature import signature_of

LEVELS = ("avx512", "avx2", "sse2")


@cache
def targets() -> dict[str, Target]:
    """Return this machine at every instruction set that it has; "host" where it is no x86."""
    machine = host(2)
    if not machine.triple.startswith("x86_64"):
        return {"host": machine}
    found: dict[str, Target] = {}
    for level, needed in zip(LEVELS, ("avx512f", "avx2", "sse2")):
        if machine.has(needed):
            found[level] = narrowed(machine, level)
    return found


def best() -> Target:
    """Return this machine with all that it has."""
    return next(iter(targets().values()))


@cache
def _support() -> bytes:
    from smelt.codegen.llvm.module import compile_ir_text

    return compile_ir_text(pool_ir.text(host().triple), host())


def program_of(kernel: Kernel, name: str = "program") -> Program:
    """Return a program that launches one kernel: what it writes are outputs, the rest inputs."""
    inputs = tuple(b for b in kernel.params if b.name not in kernel.written)
    outputs = tuple(b for b in kernel.params if b.name in kernel.written)
    places = tuple(
        Place("output", outputs.index(b)) if b in outputs else Place("input", inputs.index(b))
        for b in kernel.params
    )
    return Program(
        name, (kernel,), (Launch(kernel.name, places),), inputs, outputs, sizes=kernel.sizes
    )


def run(
    program: Program,
    inputs: Sequence[Any],
    target: Target | None = None,
    outputs: Sequence[Any] | None = None,
) -> Any:
    """Compile a program, run it once, and return its outputs, or the `DataError`."""
    emission = emit_program(program, best() if target is None else target)
    return call(emission, program, inputs, outputs)


def call(
    emission: Emission, program: Program, inputs: Sequence[Any], outputs: Sequence[Any] | None
) -> Any:
    """Run a compiled program once."""
    executable = Executable(signature_of(program), emission.object, program.constants, _support())
    return executable(*inputs, outputs=outputs)


def buffer(name: str, dtype: DType, *shape: Any) -> Buffer:
    """Return a row-major parameter."""
    return row_major_buffer(name, dtype, shape)


def vector_width_used(assembly: str) -> int:
    """Return the width in bits of the widest vector register in x86 assembly; 0 if none."""
    widths = {"x": 128, "y": 256, "z": 512}
    return max((widths[w] for w in re.findall(r"%([xyz])mm\d", assembly)), default=0)
