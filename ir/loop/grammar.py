"""The grammar of loop IR.

A `Program` is what one graph becomes: kernels, and the steps that launch them over inputs, outputs,
constants, one arena, and memory that is kept between calls. A kernel is loops over buffers; its
expressions are those of `smelt.ir.scalar`. Scheduling rewrites kernels into kernels; emitters
decide nothing.

What the kinds of loops promise:

- `SERIAL` runs in order. `UNROLL` is serial, has constant bounds, and is emitted as copies.
- `PARALLEL` iterations are independent; only a loop at the top of a kernel's body (under other
  parallel loops or `Let`s alone) may be parallel. `Local` and `SCRATCH` buffers allocated inside
  belong to the iteration.
- `VECTOR` has constant bounds `0 <= lane < lanes` and becomes vector instructions: iterations are
  independent, but for an `Accumulate` into an element that does not depend on the lane, which is a
  reduction over the lanes in any order. An `If` on the lane is a mask, and what is masked off is
  neither loaded, stored nor checked.
- `BLOCK` and `THREAD` are the two levels of a GPU launch; `Barrier` synchronises a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType
from smelt.ir.scalar import Expr, Var
from smelt.ir.types import Shape, row_major_strides


class Kind(Enum):
    """How a loop runs."""

    SERIAL = "serial"
    PARALLEL = "parallel"
    VECTOR = "vector"
    UNROLL = "unroll"
    BLOCK = "block"
    THREAD = "thread"


class Space(Enum):
    """Where a buffer lives."""

    GLOBAL = "global"  # parameter of a kernel: tensors, constants, arena, kept
    SCRATCH = "scratch"  # memory of the worker that runs the iteration, 64-byte aligned
    LOCAL = "local"  # stack or registers; constant size
    SHARED = "shared"  # memory of a GPU block


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """A strided array that kernels read and write. Compared by identity.

    Attributes:
        name: unique in its kernel.
        dtype: element type; bool occupies a byte.
        shape: extent of each dimension.
        strides: step of each dimension in elements.
        space: where it lives.
    """

    name: str
    dtype: DType
    shape: Shape
    strides: Shape
    space: Space = Space.GLOBAL


def row_major_buffer(name: str, dtype: DType, shape: Shape, space: Space = Space.GLOBAL) -> Buffer:
    """Return a row-major buffer."""
    return Buffer(name, dtype, tuple(shape), row_major_strides(tuple(shape)), space)


@dataclass(frozen=True, slots=True)
class For:
    """Run `body` for `var` from `start` (inclusive) to `stop` (exclusive) by `step`.

    Attributes:
        var: i64 variable, unique in the kernel.
        start: i64 expression.
        stop: i64 expression; nothing runs if it is not above `start`.
        kind: how it runs.
        body: statements.
        step: a positive constant.
        comment: what the loop is for, shown to readers.
    """

    var: Var
    start: Expr
    stop: Expr
    kind: Kind
    body: tuple[Stmt, ...]
    step: int = 1
    comment: str = ""


@dataclass(frozen=True, slots=True)
class If:
    """Run `body` where the bool `condition` holds, else `orelse`."""

    condition: Expr
    body: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...] = ()


@dataclass(frozen=True, slots=True)
class Let:
    """Bind `var` to `value` for `body`; evaluated once, before the body runs."""

    var: Var
    value: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Alloc:
    """Give `buffer` (LOCAL, SCRATCH or SHARED) memory for `body`; contents undefined at first."""

    buffer: Buffer
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Store:
    """`buffer[index] = value`."""

    buffer: Buffer
    index: tuple[Expr, ...]
    value: Expr


@dataclass(frozen=True, slots=True)
class Accumulate:
    """`buffer[index] = op(buffer[index], value)` with a scalar op: add, mul, max, min, and, or.

    `add` of a product may be contracted to a fused multiply-add.
    """

    buffer: Buffer
    index: tuple[Expr, ...]
    op: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Check:
    """Raise a data error where the bool `holds` does not.

    The kernel ends as soon as it can; the program returns status 1 with the first error found
    (any of them, when several workers find one) in the context.

    Attributes:
        holds: the condition.
        code: key of `structured.DATA_ERRORS`.
        value: i64 reported with it.
        limit: i64 reported with it.
    """

    holds: Expr
    code: int
    value: Expr
    limit: Expr


@dataclass(frozen=True, slots=True)
class Barrier:
    """Wait for all threads of a GPU block."""


@dataclass(frozen=True, slots=True)
class Comment:
    """A line for readers."""

    text: str


Stmt = For | If | Let | Alloc | Store | Accumulate | Check | Barrier | Comment


@dataclass(frozen=True)
class Kernel:
    """A procedure over buffers.

    Two parameters never overlap in memory: what is read and written in place is one parameter.

    Attributes:
        name: unique in its program, made from the ops fused into it.
        params: GLOBAL buffers, in the order of `Launch.places`.
        body: statements.
        sizes: names of the symbolic sizes it uses, i64 variables in its body.
        written: names of the parameters that it writes.
        precise: True where no FMA contraction and no reassociation is allowed.
        origin: the user's line, if known.
    """

    name: str
    params: tuple[Buffer, ...]
    body: tuple[Stmt, ...]
    sizes: tuple[str, ...] = ()
    written: frozenset[str] = frozenset()
    precise: bool = False
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a kernel's parameter is found at a launch.

    Attributes:
        kind: table of the context that it is in.
        index: number of the input, output or constant; for the arena and what is kept the offset
            in bytes, a multiple of 64.
    """

    kind: Literal["input", "output", "constant", "arena", "kept"]
    index: int | Dim


@dataclass(frozen=True, slots=True)
class Launch:
    """Run a kernel over the given places, one for each parameter."""

    kernel: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """Run `body` if the bool at `condition` holds, else `orelse`."""

    condition: Place
    body: tuple[Step, ...]
    orelse: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class While:
    """Run `test`; stop unless the bool at `condition` holds; run `body`; begin again."""

    test: tuple[Step, ...]
    condition: Place
    body: tuple[Step, ...]


Step = Launch | Branch | While


@dataclass(frozen=True)
class Program:
    """What one graph becomes: one native call runs its steps in order.

    Kept memory holds what is derived from inputs that seldom change, such as packed weights: the
    steps of `derive` write it from inputs and constants, and `steps` only read it. The caller runs
    `derive` once for each state of those inputs.

    Attributes:
        name: name of the graph.
        kernels: each once, however often it is launched.
        steps: launches and control flow, in order.
        inputs: how each input is laid out, in the order of the graph's inputs.
        outputs: how each output is laid out: row-major, unless it is written into an input's
            storage, when it has that storage's strides.
        constants: row-major arrays, 64-byte aligned when loaded.
        arena_bytes: size of the arena.
        sizes: names of the symbolic sizes, in the order of the context's table.
        comments: lines for readers.
        derive: launches that fill the kept memory.
        kept_bytes: size of the kept memory.
    """

    name: str
    kernels: tuple[Kernel, ...]
    steps: tuple[Step, ...]
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    constants: tuple[Any, ...] = ()
    arena_bytes: int | Dim = 0
    sizes: tuple[str, ...] = ()
    comments: tuple[str, ...] = field(default=())
    derive: tuple[Launch, ...] = ()
    kept_bytes: int = 0


def bodies(stmt: Stmt) -> tuple[tuple[Stmt, ...], ...]:
    """Return the blocks of statements that `stmt` contains."""
    match stmt:
        case For() | Let() | Alloc():
            return (stmt.body,)
        case If():
            return (stmt.body, stmt.orelse)
        case _:
            return ()


def expressions(stmt: Stmt) -> tuple[Expr, ...]:
    """Return the expressions of a statement itself, not of those inside."""
    match stmt:
        case For(start=start, stop=stop):
            return (start, stop)
        case If(condition=condition):
            return (condition,)
        case Let(value=value):
            return (value,)
        case Store(_, index, value) | Accumulate(_, index, _, value):
            return (*index, value)
        case Check(holds, _, value, limit):
            return (holds, value, limit)
        case _:
            return ()


def walk(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Yield every statement, parents first, in order."""
    for stmt in body:
        yield stmt
        for block in bodies(stmt):
            yield from walk(block)
