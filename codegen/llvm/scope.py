"""What is known at a point of a kernel while it is emitted: variables, buffers, lanes, mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from smelt.codegen.llvm.values import Operand, Value
from smelt.codegen.llvm.writer import Writer
from smelt.ir.loop.grammar import Buffer, Space


@dataclass(frozen=True, slots=True)
class Memory:
    """Where a buffer lies.

    Attributes:
        pointer: address of its first element.
        lanes: 0, or the number of lanes that each have a copy of their own: copies of an element
            lie next to each other.
    """

    pointer: Value
    lanes: int = 0


@dataclass(frozen=True)
class Scope:
    """The surroundings of a statement.

    Attributes:
        variables: what loop variables, lets and sizes are.
        memory: where the buffers are that exist here.
        lanes: lanes of the vector loops around; 0 outside of them.
        mask: which lanes are active, None for all of them.
        scratch: bytes of scratch memory in use by the allocations around.
    """

    variables: Mapping[str, Operand] = field(default_factory=dict)
    memory: Mapping[Buffer, Memory] = field(default_factory=dict)
    lanes: int = 0
    mask: Value | None = None
    scratch: int = 0

    def bind(self, name: str, value: Operand) -> Scope:
        """Return the scope with a variable added."""
        return replace(self, variables={**self.variables, name: value})

    def place(self, buffer: Buffer, memory: Memory) -> Scope:
        """Return the scope with a buffer added."""
        return replace(self, memory={**self.memory, buffer: memory})

    def masked(self, w: Writer, condition: Value) -> Scope:
        """Return the scope inside a condition on the lanes."""
        return replace(self, mask=w.both(self.mask, condition))


@dataclass
class Frame:
    """The function being written, and what its kernel has used so far.

    Attributes:
        w: its instructions.
        name: name of the kernel's function.
        worker_scratch: scratch memory of the worker that runs the function.
        checked: whether the kernel has a `Check`, so that functions look at the error's state.
        outlines: whether parallel loops are given to the pool; not inside of one of them.
        usage: shared by the functions of one kernel.
    """

    w: Writer
    name: str
    worker_scratch: Value
    checked: bool
    outlines: bool
    usage: Usage


@dataclass
class Usage:
    """What one kernel needs in all.

    Attributes:
        scratch_bytes: most scratch memory in use at once.
        outlined: number of loops made into functions of their own.
    """

    scratch_bytes: int = 0
    outlined: int = 0


def private(buffer: Buffer, scope: Scope) -> int:
    """Return how many copies of a buffer allocated here there are: one a lane, 0 for just one."""
    return scope.lanes if buffer.space in (Space.LOCAL, Space.SCRATCH) else 0
