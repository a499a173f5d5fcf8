"""The small kernels that drive loops over regions: counting steps, moving rows."""

from __future__ import annotations

from smelt.ir import dim as dims
from smelt.ir import dtypes, scalar
from smelt.ir.dim import Dim
from smelt.ir.loop.builder import for_nest, load, store
from smelt.ir.loop.grammar import Buffer, Kernel, Let, Stmt, row_major_buffer
from smelt.ir.scalar import Expr, Var, integer
from smelt.ir.types import Shape, TensorType, row_major_strides


def counted(name: str, length: int | Dim, by: int) -> Kernel:
    """Return a kernel that sets a counter to 0 (`by` = 0) or adds to it, and sets a flag.

    The flag tells whether the counter is below `length`.
    """
    counter = row_major_buffer("counter", dtypes.int64, ())
    flag = row_major_buffer("more", dtypes.bool_, ())
    before = Var("before")
    value: Expr = scalar.apply("add", before, integer(by)) if by else integer(0)
    more = scalar.apply("lt", load(counter), scalar.of_dim(length))
    body: tuple[Stmt, ...] = (store(counter, (), value), store(flag, (), more))
    if by:
        body = (Let(before, load(counter), body),)
    return Kernel(
        name, (counter, flag), body, tuple(sorted(dims.symbols(length))),
        frozenset({"counter", "more"}),
    )  # fmt: skip


def copied_row(
    name: str, row: TensorType, length: int | Dim, strides: Shape | None, read: bool
) -> Kernel:
    """Return a kernel that copies row `counter` out of a sequence, or into it.

    Args:
        name: name of the kernel.
        row: type of a row.
        length: number of rows.
        strides: of the sequence; None: row-major.
        read: True to copy out of the sequence.
    """
    shape = (length, *row.shape)
    steps = row_major_strides(shape) if strides is None else strides
    sequence = Buffer("sequence", row.dtype, shape, steps)
    single = row_major_buffer("row", row.dtype, row.shape)
    counter = row_major_buffer("counter", dtypes.int64, ())
    axes = [(Var(f"i{d}"), e) for d, e in enumerate(row.shape)]
    point = tuple(v for v, _ in axes)
    there = (load(counter), *point)
    if read:
        body = (store(single, point, load(sequence, *there)),)
    else:
        body = (store(sequence, there, load(single, *point)),)
    symbols: frozenset[str] = dims.symbols(length)
    for extent in row.shape:
        symbols |= dims.symbols(extent)
    return Kernel(
        name, (sequence, single, counter), for_nest(axes, body), tuple(sorted(symbols)),
        frozenset({"row" if read else "sequence"}),
    )  # fmt: skip
