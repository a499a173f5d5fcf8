"""Structured definitions of primitives: what is computed, not how.

A `Stage` says: for each point of a domain, read operands through index maps, evaluate a scalar
body, and combine over the reduction axes. Axis k of the domain is the variable `scalar.axis(k)`.
Movement, elementwise, reduction, contraction, window and gather ops are all stages; fusion,
templates and layouts are decided from the index maps alone. Ops whose order of writing matters
(scatter, sort, scan) give a `Nest` instead: a loop nest of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smelt.ir import dtypes, scalar
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType, Kind
from smelt.ir.errors import ArgumentError, IndexRangeError, IntegerDivisionError, SmeltError
from smelt.ir.scalar import Const, Expr, Read, Var
from smelt.ir.types import TensorType

if TYPE_CHECKING:
    from smelt.ir.loop.grammar import Buffer, Stmt


@dataclass(frozen=True)
class Reader:
    """How a stage reads one operand at a point of its domain.

    Attributes:
        operand: number of the operand.
        index: one i64 expression for each dimension of the operand, over the axis variables and
            over `Read`s of readers that come before this one (a gather).
        inside: condition under which the operand is read; None: always.
        fill: what is delivered where `inside` does not hold; given if and only if `inside` is.
    """

    operand: int
    index: tuple[Expr, ...]
    inside: Expr | None = None
    fill: Const | None = None

    def __post_init__(self) -> None:
        assert (self.inside is None) == (self.fill is None), "inside and fill come together"


@dataclass(frozen=True)
class Monoid:
    """An associative combination with an identity, over one or more components.

    Attributes:
        name: what it is called in loop programs and names of kernels.
        identity: one constant a component.
        combine: one expression a component over `left(i)` and `right(i)`, the variables
            `a{i}` and `b{i}`; `right` comes later in the order of the domain.
    """

    name: str
    identity: tuple[Const, ...]
    combine: tuple[Expr, ...]


@dataclass(frozen=True)
class DataCheck:
    """A condition on data that must hold at every point; a data error where it does not.

    Attributes:
        holds: bool expression over axes and readers.
        code: key of `DATA_ERRORS`, which says what is raised.
        value: i64 expression reported with the error, such as the offending index.
        limit: i64 expression reported with the error, such as the size of the dimension.
    """

    holds: Expr
    code: int
    value: Expr
    limit: Expr


@dataclass(frozen=True)
class Stage:
    """A structured computation.

    Attributes:
        domain: extent of each axis. Axes that are not reduced are the dimensions of the results,
            in order.
        reduce_axes: numbers of the axes combined by `combine`.
        readers: how operands are read; one operand may have several readers.
        body: scalar expressions over the axes and `Read(k)`. Without reduction one a result;
            with reduction one a component of the monoid.
        combine: None if and only if nothing is reduced.
        finish: with a reduction, one expression a result over `accumulated(i)`; empty: the
            components are the results.
        checks: conditions on data that are verified before anything is written for the caller.
        reassociate: False where the bits of the result must not depend on order or FMA.
    """

    domain: tuple[int | Dim, ...]
    readers: tuple[Reader, ...]
    body: tuple[Expr, ...]
    reduce_axes: tuple[int, ...] = ()
    combine: Monoid | None = None
    finish: tuple[Expr, ...] = ()
    checks: tuple[DataCheck, ...] = ()
    reassociate: bool = True

    def __post_init__(self) -> None:
        assert (self.combine is None) == (not self.reduce_axes), "reduction needs a monoid"

    @property
    def parallel_axes(self) -> tuple[int, ...]:
        """The axes that are dimensions of the results."""
        return tuple(a for a in range(len(self.domain)) if a not in self.reduce_axes)

    @property
    def results(self) -> tuple[Expr, ...]:
        """The expression of each result: `finish`, or else the components or the body."""
        if self.combine is None:
            return self.body
        return self.finish or tuple(accumulated(i, e.dtype) for i, e in enumerate(self.body))

    @property
    def shape(self) -> tuple[int | Dim, ...]:
        """Shape of the results."""
        return tuple(self.domain[a] for a in self.parallel_axes)


@dataclass(frozen=True)
class Nest:
    """A loop nest for an op in which the order of writing matters.

    Attributes:
        build: given the input buffers and the output buffers (row-major, sizes as in the types),
            returns statements that fill the outputs. Inputs may have any strides.
    """

    build: Callable[[tuple[Buffer, ...], tuple[Buffer, ...]], tuple[Stmt, ...]]


Definition = Stage | Nest

INDEX_OUT_OF_RANGE = 1
INTEGER_DIVISION_BY_ZERO = 2
NEGATIVE_INTEGER_POWER = 3

DATA_ERRORS: dict[int, str] = {
    INDEX_OUT_OF_RANGE: "index {value} is out of bounds for a dimension of size {limit}",
    INTEGER_DIVISION_BY_ZERO: "ZeroDivisionError",
    NEGATIVE_INTEGER_POWER: "Integers to negative integer powers are not allowed.",
}


def left(component: int, dtype: DType) -> Var:
    """Return the earlier operand of a monoid's combination."""
    return Var(f"a{component}", dtype)


def right(component: int, dtype: DType) -> Var:
    """Return the later operand of a monoid's combination."""
    return Var(f"b{component}", dtype)


def accumulated(component: int, dtype: DType) -> Var:
    """Return the variable that holds a component of the reduced value in `Stage.finish`."""
    return Var(f"acc{component}", dtype)


def lowest(dtype: DType) -> Const:
    """Return the least value of `dtype`, -inf for floats."""
    return _extreme(dtype, -1)


def highest(dtype: DType) -> Const:
    """Return the greatest value of `dtype`, inf for floats."""
    return _extreme(dtype, 1)


def _extreme(dtype: DType, sign: int) -> Const:
    match dtype.kind:
        case Kind.BOOL:
            return Const(sign > 0, dtype)
        case Kind.UINT:
            return Const(0 if sign < 0 else 2**dtype.bits - 1, dtype)
        case Kind.INT:
            half = 2 ** (dtype.bits - 1)
            return Const(-half if sign < 0 else half - 1, dtype)
        case Kind.FLOAT:
            return Const(sign * float("inf"), dtype)
        case Kind.COMPLEX:
            raise AssertionError("complex numbers have no order")


def monoid(op: str, dtype: DType) -> Monoid:
    """Return the monoid of a scalar op: add, mul, max, min, and, or."""
    number = float if dtype.kind is Kind.FLOAT else int
    identities: dict[str, Callable[[], Const]] = {
        "add": lambda: Const(number(0), dtype),
        "mul": lambda: Const(number(1), dtype),
        "max": lambda: lowest(dtype),
        "min": lambda: highest(dtype),
        "and": lambda: Const(True, dtypes.bool_),
        "or": lambda: Const(False, dtypes.bool_),
    }
    combined = scalar.apply(op, left(0, dtype), right(0, dtype))
    return Monoid(op, (identities[op](),), (combined,))


def arg_monoid(op: str, dtype: DType) -> Monoid:
    """Return the monoid of (value, index) pairs for argmax ("max") or argmin ("min").

    The first of equal values wins, and NaN wins over every number, as in NumPy and PyTorch.
    """
    better = "gt" if op == "max" else "lt"
    a, b = left(0, dtype), right(0, dtype)
    i, j = left(1, dtypes.int64), right(1, dtypes.int64)
    # The lower index wins a tie whatever the order of combination, so lanes may be folded freely.
    tie = scalar.apply("and", scalar.apply("eq", a, b), scalar.apply("lt", j, i))
    take: Expr = scalar.apply("or", scalar.apply(better, b, a), tie)
    if dtype.kind is Kind.FLOAT:
        nan_a, nan_b = scalar.apply("isnan", a), scalar.apply("isnan", b)
        first = scalar.apply("or", scalar.apply("not", nan_a), scalar.apply("lt", j, i))
        take = scalar.select(nan_b, first, scalar.apply("and", scalar.apply("not", nan_a), take))
    # The identity's index is the greatest, so that any real element wins the tie with it.
    identity = (
        lowest(dtype) if op == "max" else highest(dtype),
        Const(2**63 - 1, dtypes.int64),
    )
    combine = (scalar.select(take, b, a), scalar.select(take, j, i))
    return Monoid(f"arg{op}", identity, combine)


def identity_index(rank: int) -> tuple[Expr, ...]:
    """Return the index map of an operand read at the point of the domain itself."""
    return tuple(scalar.axis(k) for k in range(rank))


def elementwise(body: Expr | tuple[Expr, ...], inputs: tuple[TensorType, ...]) -> Stage:
    """Return the stage that evaluates `body` over equally shaped operands, reader k = operand k."""
    bodies = body if isinstance(body, tuple) else (body,)
    shape = inputs[0].shape
    readers = tuple(Reader(k, identity_index(len(shape))) for k in range(len(inputs)))
    return Stage(shape, readers, bodies)


def movement(
    source: TensorType,
    shape: tuple[int | Dim, ...],
    index: tuple[Expr, ...],
    inside: Expr | None = None,
    fill: Const | None = None,
) -> Stage:
    """Return the stage of a view or copy: element at each point of `shape` read at `index`."""
    return Stage(shape, (Reader(0, index, inside, fill),), (Read(0, source.dtype),))


def is_movement(definition: Any) -> bool:
    """Tell whether a definition only moves elements of one operand."""
    return (
        isinstance(definition, Stage)
        and not definition.reduce_axes
        and len(definition.readers) == 1
        and len(definition.body) == 1
        and isinstance(definition.body[0], Read)
        and not definition.checks
    )


def data_error(code: int, value: int, limit: int) -> SmeltError:
    """Return the error that a failed `DataCheck` raises: code, value and limit as it reports."""
    message = DATA_ERRORS[code].format(value=value, limit=limit)
    match code:
        case 1:
            return IndexRangeError(message)
        case 2:
            return IntegerDivisionError(message)
        case _:
            return ArgumentError(message)
