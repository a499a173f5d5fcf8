"""Run loop IR slowly and strictly: the definition of what a loop program means.

    run_program(program, arrays, sizes) -> outputs       # writes no input unless a kernel does
    run_kernel(kernel, arrays, sizes)                    # arrays[i] holds params[i]; in place

Every load and store is checked against the buffer's shape, fresh memory is filled with NaN (with -1
for integers), and iterations that a kind of loop calls independent run last to first, so that a
program which relies on their order gives other results than it should. What is masked off is not
evaluated. A broken promise raises `InternalError`; a failed `Check` raises the error of its code.
Arithmetic is that of `smelt.ir.scalar_reference`: nothing is contracted or reassociated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from smelt.ir import dim as dims
from smelt.ir import dtypes
from smelt.ir.dtypes import DType
from smelt.ir.errors import InternalError
from smelt.ir.loop.grammar import (
    Branch,
    Buffer,
    Kernel,
    Launch,
    Place,
    Program,
    Step,
    While,
)
from smelt.ir.loop.python_source import compiled
from smelt.ir.types import row_major_strides

Array = Any


def run_program(
    program: Program,
    arrays: Sequence[Array],
    sizes: Mapping[str, int] | None = None,
    outputs: Sequence[Array] | None = None,
    kept: Array | None = None,
) -> tuple[Array, ...]:
    """Run a program once.

    Args:
        program: what to run.
        arrays: one array an input, of the layout that the program states for it.
        sizes: value of each symbolic size.
        outputs: where to put the results, for those that live in an input's storage; by default
            each is a new array.
        kept: what `derive_kept` gave; None: derived from these arrays.

    Returns:
        One array an output.

    Raises:
        InternalError: a kernel breaks a rule, or an array is not as the program expects it.
        SmeltError: a check on data failed.
    """
    sizes = {} if sizes is None else sizes
    if len(arrays) != len(program.inputs):
        raise InternalError(
            f"program {program.name} takes {len(program.inputs)} arrays, not {len(arrays)}"
        )
    if outputs is None:
        outputs = tuple(_new_output(b, sizes) for b in program.outputs)
    if kept is None:
        kept = derive_kept(program, arrays, sizes)
    memory = _memory(program, arrays, outputs, kept, sizes)
    _run_steps(program.steps, memory)
    return tuple(outputs)


def derive_kept(
    program: Program, arrays: Sequence[Array], sizes: Mapping[str, int] | None = None
) -> Array:
    """Return the kept memory of a program, derived from arrays of its inputs."""
    sizes = {} if sizes is None else sizes
    kept = fresh(np.dtype(np.uint8), program.kept_bytes)
    _run_steps(program.derive, _memory(program, arrays, (), kept, sizes))
    return kept


def _memory(
    program: Program,
    arrays: Sequence[Array],
    outputs: Sequence[Array],
    kept: Array,
    sizes: Mapping[str, int],
) -> _Memory:
    return _Memory(
        inputs=[_flat(b, a, sizes, program) for b, a in zip(program.inputs, arrays)],
        outputs=[_flat(b, a, sizes, program) for b, a in zip(program.outputs, outputs)],
        constants=[np.ascontiguousarray(c).reshape(-1) for c in program.constants],
        arena=fresh(np.dtype(np.uint8), dims.evaluate(program.arena_bytes, sizes)),
        kept=kept,
        kernels={k.name: k for k in program.kernels},
        sizes=sizes,
    )


def run_kernel(
    kernel: Kernel, arrays: Sequence[Array], sizes: Mapping[str, int] | None = None
) -> None:
    """Run a kernel on arrays of its parameters' shapes and strides; those written change in place.

    Raises:
        InternalError: the kernel breaks a rule, or an array is not as its parameter says.
        SmeltError: a check on data failed.
    """
    sizes = {} if sizes is None else sizes
    if len(arrays) != len(kernel.params):
        raise InternalError(
            f"kernel {kernel.name} takes {len(kernel.params)} arrays, not {len(arrays)}"
        )
    flat = [_flat(b, a, sizes, kernel) for b, a in zip(kernel.params, arrays)]
    _call(kernel, flat, sizes)


def fresh(dtype: np.dtype[Any], count: int) -> Array:
    """Return new memory in which every byte is 0xFF: NaN for floats, -1 for signed integers."""
    return np.full(max(count, 0) * dtype.itemsize, 0xFF, np.uint8).view(dtype)


class _Memory:
    """The memory that a running program sees, each block as a flat array."""

    def __init__(
        self,
        inputs: list[Array],
        outputs: list[Array],
        constants: list[Array],
        arena: Array,
        kept: Array,
        kernels: dict[str, Kernel],
        sizes: Mapping[str, int],
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.constants = constants
        self.arena = arena
        self.kept = kept
        self.kernels = kernels
        self.sizes = sizes

    def at(self, place: Place, dtype: DType, count: int, what: str) -> Array:
        """Return `count` elements from `place` on."""
        number = dims.evaluate(place.index, self.sizes)
        if place.kind == "arena":
            block, begin = self.arena, number
        elif place.kind == "kept":
            block, begin = self.kept, number
        else:
            table = {"input": self.inputs, "output": self.outputs, "constant": self.constants}
            block, begin = table[place.kind][number].view(np.uint8), 0
        end = begin + count * dtype.itemsize
        if end > len(block):
            raise InternalError(
                f"{what} reaches byte {end} of {place.kind} {number}, which has {len(block)}"
            )
        return block[begin:end].view(dtype.numpy)

    def flag(self, place: Place) -> bool:
        """Return the bool at `place`."""
        return bool(self.at(place, dtypes.bool_, 1, "the condition of a step")[0])


def _run_steps(steps: tuple[Step, ...], memory: _Memory) -> None:
    for step in steps:
        match step:
            case Launch(name, places):
                kernel = memory.kernels[name]
                flat = [
                    memory.at(p, b.dtype, span(b, memory.sizes), f"{name}: parameter {b.name}")
                    for p, b in zip(places, kernel.params)
                ]
                _refuse_overlap(kernel, flat)
                _call(kernel, flat, memory.sizes)
            case Branch(condition, body, orelse):
                _run_steps(body if memory.flag(condition) else orelse, memory)
            case While(test, condition, body):
                _run_steps(test, memory)
                while memory.flag(condition):
                    _run_steps(body, memory)
                    _run_steps(test, memory)


def _call(kernel: Kernel, flat: Sequence[Array], sizes: Mapping[str, int]) -> None:
    try:
        with np.errstate(all="ignore"):
            compiled(kernel)(*flat, *(sizes[name] for name in kernel.sizes))
    except (ZeroDivisionError, OverflowError, ValueError) as error:
        if isinstance(error, InternalError | RuntimeError | IndexError):
            raise
        raise InternalError(f"kernel {kernel.name}: {error}") from error


def _refuse_overlap(kernel: Kernel, flat: Sequence[Array]) -> None:
    for i, a in enumerate(flat):
        for j, b in enumerate(flat):
            shared = i < j and a.size and b.size and np.may_share_memory(a, b)
            names = {kernel.params[i].name, kernel.params[j].name}
            dense = all(_is_dense(kernel.params[k]) for k in (i, j))
            if shared and dense and names & kernel.written:
                raise InternalError(f"kernel {kernel.name}: parameters {names} overlap in memory")


def _is_dense(buffer: Buffer) -> bool:
    return buffer.strides == row_major_strides(buffer.shape)


def span(buffer: Buffer, sizes: Mapping[str, int]) -> int:
    """Return the number of elements from the first of a buffer to one past its last."""
    shape = [dims.evaluate(e, sizes) for e in buffer.shape]
    if 0 in shape:
        return 0
    strides = [dims.evaluate(s, sizes) for s in buffer.strides]
    return 1 + sum((e - 1) * s for e, s in zip(shape, strides))


def _new_output(buffer: Buffer, sizes: Mapping[str, int]) -> Array:
    shape = tuple(dims.evaluate(e, sizes) for e in buffer.shape)
    flat = fresh(buffer.dtype.numpy, span(buffer, sizes))
    steps = [dims.evaluate(s, sizes) * buffer.dtype.itemsize for s in buffer.strides]
    return np.lib.stride_tricks.as_strided(flat, shape, steps)


def _flat(buffer: Buffer, array: Array, sizes: Mapping[str, int], owner: Program | Kernel) -> Array:
    """Return the memory under `array` as a flat array; checks its dtype, shape and strides."""
    shape = tuple(dims.evaluate(e, sizes) for e in buffer.shape)
    strides = tuple(dims.evaluate(s, sizes) * buffer.dtype.itemsize for s in buffer.strides)
    moved = any(e > 1 and s != t for e, s, t in zip(shape, strides, array.strides))
    if array.dtype != buffer.dtype.numpy or array.shape != shape or (moved and 0 not in shape):
        raise InternalError(
            f"{owner.name}: {buffer.name} is {array.dtype}{list(array.shape)} with strides "
            f"{list(array.strides)}, expected {buffer.dtype.numpy}{list(shape)} with "
            f"{list(strides)} bytes"
        )
    return np.lib.stride_tricks.as_strided(array, (span(buffer, sizes),), (buffer.dtype.itemsize,))
