"""What a contraction is, and which of its factors goes across the lanes.

The first factor's rows are packed along the summands, the second factor's columns across the lanes.
`oriented` exchanges the two where memory is then read, or results are written, more in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from smelt.codegen.schedule.analysis import accesses, offset
from smelt.codegen.schedule.factor import Factor, guarded
from smelt.ir import index, scalar
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType
from smelt.ir.index import Ranges
from smelt.ir.loop.builder import minus, plus, times
from smelt.ir.loop.grammar import Stmt
from smelt.ir.scalar import Expr, Load, Var

Axis = tuple[Var, int | Dim]
Point = Mapping[Expr, Expr]
Position = tuple[Expr, ...]
Epilogue = Callable[[Point, Expr], tuple[Stmt, ...]]

_ASSUMED = 256
_CLEARLY = 0.7


@dataclass(frozen=True)
class Contraction:
    """A sum of products: `sum over k of left[batch, m, k] * right[batch, n, k]`.

    Attributes:
        batch: axes that both factors have and the result keeps, outermost first.
        m: axes of the first factor that the result keeps.
        n: axes of the second factor that the result keeps; they go across the lanes.
        k: axes that are summed.
        left: the first factor, over the variables of `batch`, `m` and `k`; loads and arithmetic.
        right: the second factor, over the variables of `batch`, `n` and `k`.
        accumulator: type in which products are summed; the factors are converted to it.
        epilogue: what becomes of a sum: statements, given what the variables of `batch`, `m` and
            `n` are and the sum. Called several times: names that it binds must be fresh. The
            statements run once for each point, inside a vector loop over columns.
        left_frozen: whether the first factor seldom changes, so that it may be packed ahead.
        right_frozen: whether the second factor does.
    """

    batch: tuple[Axis, ...]
    m: tuple[Axis, ...]
    n: tuple[Axis, ...]
    k: tuple[Axis, ...]
    left: Expr
    right: Expr
    accumulator: DType
    epilogue: Epilogue
    left_frozen: bool = False
    right_frozen: bool = False


def extent(axes: tuple[Axis, ...]) -> int | Dim:
    """Return the number of points of a group of axes."""
    total: int | Dim = 1
    for _, size in axes:
        total = size * total
    return total


def unflattened(flat: Expr, axes: tuple[Axis, ...]) -> dict[Expr, Expr]:
    """Return what each variable of a group is at a flat position in it."""
    found: dict[Expr, Expr] = {}
    rest = flat
    for var, size in reversed(axes[1:]):
        step = scalar.of_dim(size)
        found[var] = scalar.apply("mod", rest, step)
        rest = scalar.apply("floordiv", rest, step)
    if axes:
        found[axes[0][0]] = rest
    return found


def flattened(variables: Sequence[Expr], axes: tuple[Axis, ...]) -> Expr:
    """Return the flat position of a point in a group of axes."""
    flat: Expr = scalar.integer(0)
    for value, (_, size) in zip(variables, axes):
        flat = plus(times(flat, scalar.of_dim(size)), value)
    return flat


def guess(size: int | Dim) -> int:
    """Return a size, or what a symbolic one is taken to be when something is chosen by size."""
    return size if isinstance(size, int) else _ASSUMED


def axis_ranges(contraction: Contraction) -> dict[Var, index.Interval]:
    """Return the ranges of the variables of all axes."""
    ranges: dict[Var, index.Interval] = {}
    for group in (contraction.batch, contraction.m, contraction.n, contraction.k):
        for var, size in group:
            high = size - 1 if isinstance(size, int) else minus(scalar.of_dim(size), 1)
            ranges[var] = (0, high)
    return ranges


GATHER_COST = 20
"""Cost of loading a vector from as many places, compared with that of loading one in order."""


@dataclass(frozen=True)
class Packing:
    """How a factor is read when it is packed.

    Attributes:
        lanes: width of the vectors; narrower than the tile's where runs in memory are short.
        cost: cost an element.
    """

    lanes: int
    cost: float


def packing(factor: Factor, axes: tuple[Axis, ...], widest: int, ranges: Ranges) -> Packing:
    """Return how to read a factor across lanes that run over a group of axes.

    Args:
        factor: the factor.
        axes: the group.
        widest: lanes of a full vector.
        ranges: of the variables of all axes.
    """
    best = Packing(widest, math.inf)
    lanes = widest
    while lanes >= 4 or lanes == widest:
        cost = lane_cost(scalar.substitute(factor.value, _across(axes, lanes)), lanes, ranges)
        if cost / lanes < best.cost:
            best = Packing(lanes, cost / lanes)
        lanes //= 2
    return best


@dataclass(frozen=True)
class Reading:
    """How the rows or the columns of a contraction are read when they are packed.

    Attributes:
        factor: what is read, with its guard taken apart.
        across: whether vectors run across rows or columns; else along the summands.
        packing: width and cost of the vectors.
    """

    factor: Factor
    across: bool
    packing: Packing


def rows_reading(contraction: Contraction, lanes: int) -> Reading:
    """Return how to read the rows of the first factor; they can be packed either way."""
    ranges = axis_ranges(contraction)
    factor = guarded(contraction.left, ranges)
    along = packing(factor, contraction.k, lanes, ranges)
    across = packing(factor, contraction.m, lanes, ranges)
    if across.cost < _CLEARLY * along.cost:
        return Reading(factor, True, across)
    return Reading(factor, False, along)


def columns_reading(contraction: Contraction, lanes: int) -> Reading:
    """Return how to read the columns of the second factor.

    They lie next to each other when packed, so reading along the summands scatters its stores.
    """
    ranges = axis_ranges(contraction)
    factor = guarded(contraction.right, ranges)
    across = packing(factor, contraction.n, lanes, ranges)
    along = packing(factor, contraction.k, lanes, ranges)
    scattered = along.cost + GATHER_COST / lanes / 2
    if scattered < across.cost:
        return Reading(factor, False, Packing(along.lanes, scattered))
    return Reading(factor, True, across)


_VECTOR, _LANE = Var("%vector"), Var("%lane")


def _across(axes: tuple[Axis, ...], lanes: int) -> dict[Expr, Expr]:
    return unflattened(plus(times(_VECTOR, lanes), _LANE), axes)


def lane_cost(value: Expr, lanes: int, ranges: Ranges) -> int:
    """Return the cost of evaluating an expression over `%lane` for a whole vector."""
    known = {**ranges, _LANE: (0, lanes - 1)}
    cost = 0
    for part in scalar.walk(value):
        if isinstance(part, Load):
            cost += _access_cost(offset(part.buffer, part.index), known)
    return max(cost, 1)


def _access_cost(position: Expr, ranges: Ranges) -> int:
    step = index.coefficient(index.simplify(position, ranges), _LANE, ranges)
    return 1 if step in (0, 1) else GATHER_COST


def oriented(contraction: Contraction, lanes: int) -> Contraction:
    """Return a contraction, or the same with its factors exchanged where that is cheaper."""
    other = replace(
        contraction,
        m=contraction.n,
        n=contraction.m,
        left=contraction.right,
        right=contraction.left,
        left_frozen=contraction.right_frozen,
        right_frozen=contraction.left_frozen,
    )
    cost, exchanged = _memory_cost(contraction, lanes), _memory_cost(other, lanes)
    return other if exchanged < _CLEARLY * cost else contraction


def _memory_cost(contraction: Contraction, lanes: int) -> float:
    """Return the cost of packing both factors and of storing the results."""
    ranges = axis_ranges(contraction)
    m, n, k = (guess(extent(g)) for g in (contraction.m, contraction.n, contraction.k))
    # What is packed ahead costs nothing when it is used.
    rows = 0.0 if contraction.left_frozen else rows_reading(contraction, lanes).packing.cost
    columns = 0.0 if contraction.right_frozen else columns_reading(contraction, lanes).packing.cost
    # Short sides leave lanes empty.
    filled = n / (-(-n // lanes) * lanes) if n else 1.0
    batch = {v: v for v, _ in (*contraction.batch, *contraction.m)}
    stmts = contraction.epilogue(
        {**batch, **_across(contraction.n, lanes)}, Var("%sum", contraction.accumulator)
    )
    known = {**ranges, _LANE: (0, lanes - 1)}
    stored = sum(_access_cost(a.offset, known) for a in accesses(stmts)) / lanes
    return m * k * rows + n * k * columns / filled + m * n * stored / filled
