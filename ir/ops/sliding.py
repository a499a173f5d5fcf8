"""Windows that slide: the index maps that convolution and pooling share, a dimension at a time.

A window at output position `out` meets position `out * stride + offset * dilation - padding` of
its input, for each `offset` in its kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

from smelt.ir import scalar
from smelt.ir.dim import Dim
from smelt.ir.loop.builder import minus, plus, times
from smelt.ir.ops import expect
from smelt.ir.scalar import Expr
from smelt.ir.types import Shape

Ints = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """How a kernel slides: one number a spatial dimension, and the groups of channels."""

    stride: Ints
    padding: Ints
    dilation: Ints
    groups: int = 1

    def at(self, axis: int) -> tuple[int, int, int]:
        """Return stride, padding and dilation of a spatial dimension."""
        return self.stride[axis], self.padding[axis], self.dilation[axis]


def check_numbers(op: str, rank: int, **numbers: Ints) -> None:
    """Require one number for each spatial dimension of an operand of that rank."""
    for name, values in numbers.items():
        least = 0 if name == "padding" else 1
        fits = len(values) == rank - 2 and all(v >= least for v in values)
        expect.argument(
            op, fits, f"{name} must be {rank - 2} numbers, none below {least}, not {values}"
        )


def within(position: Expr, extent: int | Dim) -> Expr:
    """Return the condition that a position is in [0, extent)."""
    low = scalar.apply("ge", position, scalar.integer(0))
    return scalar.apply("and", low, scalar.apply("lt", position, scalar.of_dim(extent)))


def covered(out: Expr, offset: Expr, stride: int, padding: int, dilation: int) -> Expr:
    """Return the input position that a window at `out` meets at `offset` in its kernel."""
    return minus(plus(times(out, stride), times(offset, dilation)), padding)


def covering(
    position: Expr, offset: Expr, stride: int, padding: int, dilation: int, outputs: int | Dim
) -> tuple[Expr, Expr]:
    """Return which of `outputs` windows meets an input position at `offset`, and when one does."""
    start = minus(plus(position, padding), times(offset, dilation))
    if stride == 1:
        return start, within(start, outputs)
    out = scalar.apply("floordiv", start, scalar.integer(stride))
    rest = scalar.apply("mod", start, scalar.integer(stride))
    even = scalar.apply("eq", rest, scalar.integer(0))
    return out, scalar.apply("and", even, within(out, outputs))


def flat_position(positions: tuple[Expr, ...], spatial: Shape) -> Expr:
    """Return the row-major number of a position in the spatial plane."""
    total: Expr = scalar.integer(0)
    for position, extent in zip(positions, spatial):
        total = plus(times(total, scalar.of_dim(extent)), position)
    return total


def out_extent(
    op: str,
    extent: int | Dim,
    kernel: int | Dim,
    stride: int,
    padding: int,
    dilation: int,
    ceil_mode: bool = False,
) -> int | Dim:
    """Return how many windows there are over a dimension of size `extent`.

    With `ceil_mode` the last may reach beyond the padding, if it starts before it.
    """
    reach = dilation * (kernel - 1) + 1
    padded = extent + 2 * padding
    room = padded - reach
    if isinstance(room, int):
        expect.argument(
            op,
            room >= 0 or (ceil_mode and room > -stride),
            f"the padded input has {padded} elements in a spatial dimension, fewer than the "
            f"{reach} that the kernel reaches over",
        )
    if not ceil_mode:
        return room // stride + 1
    expect.argument(op, isinstance(room, int), f"ceil_mode needs a known size, not {extent}")
    count = (room + stride - 1) // stride + 1
    return count - 1 if (count - 1) * stride >= extent + padding else count
