"""Pack factors of a contraction ahead: weights are packed once and serve many calls.

    packable_ahead(contraction) -> Contraction       which of the frozen factors are worth it
    kept_rows(packer, …) -> Kept                     all rows of the first factor, every summand
    kept_columns(packer, …) -> Kept                  all columns of the second factor

A factor that is packed ahead lies in one buffer with the layout of a task's panels, all tiles and
all summands of it, after the axes of the batch that it depends on:

    rows[batch…, tile, r, p]  or  rows[batch…, tile, p, r]  and  columns[batch…, tile, p, c]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from smelt.codegen.schedule.packing import Packer, Panel
from smelt.codegen.schedule.product import Axis, Contraction, axis_ranges, extent
from smelt.codegen.schedule.rewrite import Body, simplified
from smelt.codegen.target import Target
from smelt.ir import scalar
from smelt.ir.loop.builder import Names, for_nest
from smelt.ir.loop.grammar import Buffer, For, Kind, row_major_buffer
from smelt.ir.scalar import Expr
from smelt.ir.types import Shape

_LEAST = 4096
"""Elements from which a factor is packed ahead; smaller ones are packed in a microsecond."""

_MOST_USES = 2048
"""Uses of each packed element from which packing is lost beside the products."""

_PARALLEL_WORTH = 100_000
"""Elements from which several workers pack."""


@dataclass(frozen=True)
class Kept:
    """A factor that is packed ahead.

    Attributes:
        buffer: where it lies: a parameter of the kernel that uses it and of the one that packs.
        lead: axes of the batch that come first in it.
        body: statements that fill it; they stand at the top of a kernel's body.
    """

    buffer: Buffer
    lead: tuple[Axis, ...]
    body: Body


def packable_ahead(contraction: Contraction) -> Contraction:
    """Return a contraction whose frozen factors are those that are worth packing ahead."""
    c = contraction
    groups = (c.batch, c.m, c.n, c.k)
    static = all(isinstance(size, int) for group in groups for _, size in group)

    def pays(factor: Expr, lines: tuple[Axis, ...], others: tuple[Axis, ...]) -> bool:
        elements = _count((*_lead(factor, c.batch), *lines, *c.k))
        return elements >= _LEAST and _count(others) <= _MOST_USES

    return replace(
        c,
        left_frozen=c.left_frozen and static and pays(c.left, c.m, c.n),
        right_frozen=c.right_frozen and static and pays(c.right, c.n, c.m),
    )


def kept_rows(packer: Packer, target: Target, names: Names) -> Kept:
    """Return the rows of the first factor, packed ahead.

    Args:
        packer: packs the contraction, whose sizes are constant.
        target: the machine.
        names: supply of names of the kernel.
    """
    c, whole = packer.contraction, _whole(packer)
    lead, count = _lead(c.left, c.batch), _count(c.m)
    sizes = whole.rows_shape(-(-count // packer.shape.rows))
    buffer = _buffer("kept_rows", c, lead, sizes, names)
    here = tuple(v for v, _ in lead)
    body = whole.rows(buffer, scalar.integer(0), scalar.integer(count), _all(c), here)
    return Kept(buffer, lead, _spread(c, lead, body, buffer, target))


def kept_columns(packer: Packer, target: Target, names: Names) -> Kept:
    """Return the columns of the second factor, packed ahead; see `kept_rows`."""
    c, whole = packer.contraction, _whole(packer)
    lead, count = _lead(c.right, c.batch), _count(c.n)
    sizes = whole.columns_shape(-(-count // packer.shape.columns))
    buffer = _buffer("kept_columns", c, lead, sizes, names)
    here = tuple(v for v, _ in lead)
    body = whole.columns(buffer, scalar.integer(0), scalar.integer(count), _all(c), here)
    return Kept(buffer, lead, _spread(c, lead, body, buffer, target))


def _whole(packer: Packer) -> Packer:
    """Return what packs all summands in one panel."""
    depth = _count(packer.contraction.k)
    return replace(packer, shape=replace(packer.shape, depth=depth))


def _all(contraction: Contraction) -> Panel:
    return Panel(scalar.integer(0), scalar.integer(_count(contraction.k)))


def _lead(factor: Expr, batch: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Return the axes of the batch that a factor depends on."""
    used = scalar.variables(factor)
    return tuple((v, size) for v, size in batch if v in used)


def _count(axes: tuple[Axis, ...]) -> int:
    """Return the number of points of axes of constant sizes, 0 for others."""
    count = extent(axes)
    return count if isinstance(count, int) else 0


def _buffer(
    hint: str, contraction: Contraction, lead: tuple[Axis, ...], sizes: Shape, names: Names
) -> Buffer:
    shape = (*(size for _, size in lead), *sizes)
    return row_major_buffer(names.fresh(hint), contraction.accumulator, shape)


def _spread(
    contraction: Contraction, lead: tuple[Axis, ...], body: Body, buffer: Buffer, target: Target
) -> Body:
    """Return loops over the batch around what packs one matrix, given to several workers."""
    (found,) = simplified(
        for_nest([(v, scalar.of_dim(size)) for v, size in lead], body), axis_ranges(contraction)
    )
    elements = 1
    for size in buffer.shape:
        assert isinstance(size, int), "what is packed ahead has a constant size"
        elements *= size
    assert isinstance(found, For), "packing is a nest of loops"
    if elements < _PARALLEL_WORTH or target.threads == 1:
        return (found,)
    return (replace(found, kind=Kind.PARALLEL),)
