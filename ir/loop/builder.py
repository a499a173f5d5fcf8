"""Build loop IR conveniently: fresh names, index arithmetic that folds, nests of loops.

names = Names({"x"})                       # hands out names that are unique in a kernel
i = names.var("i")                         # Var("i"), then Var("i_1"), …
loop(i, 64, [statement, …])                # for i in serial(0, 64)
for_nest([(i, 64), (j, n)], [statement])   # nested, outermost first
local("acc", f32, (14, 32)), scratch("panel", f32, (256, 32))    # buffers for Alloc
load(x, i, 0)                              # x[i, 0]
plus(a, 1), times(a, b), minus(a, b), below(a, b)   # i64 arithmetic; ints are constants
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from smelt.ir import scalar
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType
from smelt.ir.loop.grammar import (
    Alloc,
    Buffer,
    For,
    If,
    Kernel,
    Kind,
    Let,
    Space,
    Stmt,
    Store,
    row_major_buffer,
    walk,
)
from smelt.ir.loop.printer import RESERVED
from smelt.ir.scalar import Const, Expr, Load, Var, integer
from smelt.ir.types import Shape

Index = int | Expr
"""An i64 expression, or an int that stands for the constant."""


class Names:
    """Hands out names that are unique in a kernel."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken) | RESERVED
        self._numbers: dict[str, int] = {}

    def fresh(self, hint: str) -> str:
        """Return `hint`, or `hint_1`, `hint_2`, … if it is taken; a number in it counts on."""
        name = hint
        if name in self._taken:
            base, _, end = hint.rpartition("_")
            base = base if base and end.isdigit() else hint
            number = self._numbers.get(base, 0)
            while name in self._taken:
                number += 1
                name = f"{base}_{number}"
            self._numbers[base] = number
        self._taken.add(name)
        return name

    def var(self, hint: str, dtype: DType = scalar.dtypes.int64) -> Var:
        """Return a variable with a fresh name."""
        return Var(self.fresh(hint), dtype)


def names_in(kernel: Kernel) -> Names:
    """Return a supply of names that differ from all in `kernel`."""
    taken = {b.name for b in kernel.params} | set(kernel.sizes)
    return Names(taken | bound_names(kernel.body))


def bound_names(body: tuple[Stmt, ...]) -> set[str]:
    """Return the names of the variables and buffers that statements bind."""
    found: set[str] = set()
    for stmt in walk(body):
        match stmt:
            case For(var=var) | Let(var=var):
                found.add(var.name)
            case Alloc(buffer=buffer):
                found.add(buffer.name)
            case _:
                pass
    return found


def index(value: Index | Dim) -> Expr:
    """Return an int, a dimension or an expression as an expression."""
    return scalar.of_dim(value) if isinstance(value, int | Dim) else value


def plus(a: Index, b: Index) -> Expr:
    """Return `a + b`."""
    a, b = index(a), index(b)
    if isinstance(a, Const) and isinstance(b, Const):
        return integer(int(a.value) + int(b.value))
    if isinstance(b, Const) and b.value == 0:
        return a
    if isinstance(a, Const) and a.value == 0:
        return b
    return scalar.apply("add", a, b)


def minus(a: Index, b: Index) -> Expr:
    """Return `a - b`."""
    a, b = index(a), index(b)
    if isinstance(a, Const) and isinstance(b, Const):
        return integer(int(a.value) - int(b.value))
    if isinstance(b, Const) and b.value == 0:
        return a
    return scalar.apply("sub", a, b)


def times(a: Index, b: Index) -> Expr:
    """Return `a * b`."""
    a, b = index(a), index(b)
    if isinstance(a, Const) and isinstance(b, Const):
        return integer(int(a.value) * int(b.value))
    for x, y in ((a, b), (b, a)):
        if isinstance(x, Const) and x.value == 1:
            return y
        if isinstance(x, Const) and x.value == 0:
            return x
    return scalar.apply("mul", a, b)


def divided(a: Index, b: int) -> Expr:
    """Return `a // b`."""
    a = index(a)
    if isinstance(a, Const):
        return integer(int(a.value) // b)
    return a if b == 1 else scalar.apply("floordiv", a, integer(b))


def divided_up(a: Index, b: int) -> Expr:
    """Return `a / b` rounded up."""
    return divided(plus(a, b - 1), b)


def lesser(a: Index, b: Index) -> Expr:
    """Return the lesser of two."""
    a, b = index(a), index(b)
    if isinstance(a, Const) and isinstance(b, Const):
        return integer(min(int(a.value), int(b.value)))
    return a if a == b else scalar.apply("min", a, b)


def below(a: Index, b: Index) -> Expr:
    """Return the condition `a < b`."""
    return scalar.apply("lt", index(a), index(b))


def load(buffer: Buffer, *position: Index) -> Load:
    """Return `buffer[position]`."""
    return Load(buffer, tuple(index(p) for p in position))


def store(buffer: Buffer, position: Sequence[Index], value: Expr) -> Store:
    """Return `buffer[position] = value`."""
    return Store(buffer, tuple(index(p) for p in position), value)


def loop(
    var: Var,
    stop: Index | Dim,
    body: Sequence[Stmt],
    kind: Kind = Kind.SERIAL,
    *,
    start: Index | Dim = 0,
    step: int = 1,
    comment: str = "",
) -> For:
    """Return a loop from `start` to `stop`."""
    return For(var, index(start), index(stop), kind, tuple(body), step, comment)


def for_nest(
    axes: Sequence[tuple[Var, Index | Dim]],
    body: Sequence[Stmt],
    kind: Kind = Kind.SERIAL,
) -> tuple[Stmt, ...]:
    """Return loops from 0 over each (variable, extent), outermost first, around `body`."""
    result = tuple(body)
    for var, extent in reversed(axes):
        result = (loop(var, extent, result, kind),)
    return result


def guarded(condition: Expr | None, body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """Return `body` under a condition; as it is where there is none or it is constantly true."""
    if condition is None or condition == scalar.TRUE:
        return tuple(body)
    return (If(condition, tuple(body)),)


def local(name: str, dtype: DType, shape: Shape) -> Buffer:
    """Return a row-major buffer in registers or on the stack."""
    return row_major_buffer(name, dtype, shape, Space.LOCAL)


def scratch(name: str, dtype: DType, shape: Shape) -> Buffer:
    """Return a row-major buffer in the worker's scratch memory."""
    return row_major_buffer(name, dtype, shape, Space.SCRATCH)


def allocated(buffers: Sequence[Buffer], body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """Return `body` with memory for `buffers`, the first outermost."""
    result = tuple(body)
    for buffer in reversed(buffers):
        result = (Alloc(buffer, result),)
    return result
