"""What a caller of an executable must know: how arguments are laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from smelt.ir import dim as dims
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType
from smelt.ir.errors import ArgumentError, DTypeError, TypeInferenceError
from smelt.ir.loop.grammar import Buffer, Launch, Place, Program
from smelt.ir.types import Shape


@dataclass(frozen=True, slots=True)
class Slot:
    """The layout of one argument.

    Attributes:
        dtype: element type.
        shape: extent of each dimension.
        strides: step of each dimension in elements.
    """

    dtype: DType
    shape: Shape
    strides: Shape

    def __str__(self) -> str:
        shape, strides = ",".join(map(str, self.shape)), ",".join(map(str, self.strides))
        return f"{self.dtype.name}[{shape}] with strides [{strides}]"


@dataclass(frozen=True)
class Signature:
    """The calling convention of a program.

    Attributes:
        name: name of the program.
        inputs: layout of each input.
        outputs: layout of each output.
        arena_bytes: size of the arena.
        sizes: names of the symbolic sizes, in the order in which they are passed.
        launches: names of the kernels in the order of their launches; empty where control flow
            decides that.
        kept_bytes: size of the memory that is kept between calls.
        kept_inputs: numbers of the inputs that it is derived from.
    """

    name: str
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    arena_bytes: int | Dim = 0
    sizes: tuple[str, ...] = ()
    launches: tuple[str, ...] = ()
    kept_bytes: int = 0
    kept_inputs: tuple[int, ...] = ()

    @cached_property
    def is_static(self) -> bool:
        """Whether no symbolic size occurs."""
        return not self.sizes

    def bind(self, inputs: Sequence[Any]) -> tuple[int, ...]:
        """Check arrays against the inputs and return the values of the symbolic sizes.

        Raises:
            TypeInferenceError: wrong number, dtype, shape or strides of an array.
        """
        if len(inputs) != len(self.inputs):
            raise ArgumentError(f"{self.name} takes {len(self.inputs)} inputs, got {len(inputs)}")
        values: dict[str, int] = {}
        for slot, array in zip(self.inputs, inputs):
            for extent, actual in zip(slot.shape, array.shape):
                symbol = _lone_symbol(extent)
                if symbol is not None:
                    values.setdefault(symbol, actual)
        missing = [name for name in self.sizes if name not in values]
        if missing:
            raise TypeInferenceError(
                f"{self.name}: no input has a dimension that is {', '.join(missing)} alone"
            )
        for number, (slot, array) in enumerate(zip(self.inputs, inputs)):
            self._check(number, slot, array, values)
        return tuple(values[name] for name in self.sizes)

    def _check(self, number: int, slot: Slot, array: Any, values: Mapping[str, int]) -> None:
        if array.dtype != slot.dtype.numpy:
            raise DTypeError(
                f"{self.name}: input {number} is {array.dtype}, expected {slot.dtype.torch_name}"
            )
        shape = tuple(dims.evaluate(d, values) for d in slot.shape)
        strides = tuple(dims.evaluate(d, values) for d in slot.strides)
        if array.shape != shape:
            raise TypeInferenceError(
                f"{self.name}: input {number} has shape {list(array.shape)}, expected "
                f"{list(shape)} ({slot})"
            )
        if 0 in shape:
            return
        for extent, step, expected in zip(shape, array.strides, strides):
            if extent != 1 and step != expected * slot.dtype.itemsize:
                actual = [s // slot.dtype.itemsize for s in array.strides]
                raise TypeInferenceError(
                    f"{self.name}: input {number} has strides {actual}, expected {list(strides)}"
                )


def signature_of(program: Program) -> Signature:
    """Return the signature of a program."""
    return Signature(
        program.name,
        tuple(map(_slot, program.inputs)),
        tuple(map(_slot, program.outputs)),
        program.arena_bytes,
        program.sizes,
        _launches(program),
        program.kept_bytes,
        _kept_inputs(program),
    )


def _launches(program: Program) -> tuple[str, ...]:
    names = tuple(step.kernel for step in program.steps if isinstance(step, Launch))
    return names if len(names) == len(program.steps) else ()


def _kept_inputs(program: Program) -> tuple[int, ...]:
    places = {place for launch in program.derive for place in launch.places}
    return tuple(n for n in range(len(program.inputs)) if Place("input", n) in places)


def _slot(buffer: Buffer) -> Slot:
    return Slot(buffer.dtype, buffer.shape, buffer.strides)


def _lone_symbol(extent: int | Dim) -> str | None:
    if isinstance(extent, Dim) and extent == dims.symbol(str(extent)):
        return str(extent)
    return None
