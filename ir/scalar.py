"""Scalar expressions: the language of stage bodies, index maps and loop programs.

An expression is a frozen tree. Its leaves are constants, variables, and either `Read` (in a stage:
the value that a reader delivers) or `Load` (in a loop program: an element of a buffer). Inner nodes
apply one of the operations of `SCALAR_OPS`, strictly typed: nothing is promoted here.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from smelt.ir import dim as dims
from smelt.ir import dtypes
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType, Kind

if TYPE_CHECKING:
    from smelt.ir.loop.grammar import Buffer

Scalar = bool | int | float


@dataclass(frozen=True, slots=True, eq=False)
class Const:
    """A constant. Two are equal when their bits are: NaN equals NaN, -0.0 is not 0.0."""

    value: Scalar
    dtype: DType

    def bits(self) -> object:
        """Return what identifies the value, bit for bit."""
        if isinstance(self.value, float):
            return struct.pack("<d", self.value) if not math.isnan(self.value) else "nan"
        return self.value

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Const)
            and self.dtype is other.dtype
            and type(self.value) is type(other.value)
            and self.bits() == other.bits()
        )

    def __hash__(self) -> int:
        return hash((self.dtype, self.bits()))


@dataclass(frozen=True, slots=True)
class Var:
    """A variable: a loop axis (i64), a size, a bound value, or a component of a monoid."""

    name: str
    dtype: DType = dtypes.int64


@dataclass(frozen=True, slots=True)
class Read:
    """In a stage: the value that reader number `reader` delivers at the current point."""

    reader: int
    dtype: DType


@dataclass(frozen=True, slots=True)
class Load:
    """In a loop program: the element of `buffer` at `index`, one expression a dimension."""

    buffer: Buffer
    index: tuple[Expr, ...]

    @property
    def dtype(self) -> DType:
        """Element type of the buffer."""
        return self.buffer.dtype


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation of `SCALAR_OPS` on expressions, giving `dtype`.

    The hash is computed once: expressions share parts, and walking them again at each lookup
    would take time exponential in the depth of the sharing.
    """

    op: str
    args: tuple[Expr, ...]
    dtype: DType
    hashed: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hashed", hash((self.op, self.args, self.dtype)))

    def __hash__(self) -> int:
        return self.hashed

    def __reduce__(self) -> tuple[object, ...]:
        # Hashes of strings differ between processes, so the hash does not travel.
        return (Apply, (self.op, self.args, self.dtype))


Expr = Const | Var | Read | Load | Apply


class Cost(Enum):
    """How dear an operation is, for the decision to compute a value again."""

    FREE = 0
    CHEAP = 1
    DEAR = 4
    TRANSCENDENTAL = 16


class Typing(Enum):
    """How the result type of an operation follows from its operands."""

    SAME = "all operands and the result have one dtype"
    COMPARE = "operands have one dtype, the result is bool"
    TEST = "one operand, the result is bool"
    SELECT = "bool, then two of one dtype, which is the result's"
    CONVERT = "one operand of any dtype, the result's is stated"


@dataclass(frozen=True)
class ScalarOp:
    """One scalar operation.

    Attributes:
        name: its name in expressions and in IR text.
        arity: number of operands.
        typing: how the result type follows.
        kinds: kinds of number that the operands may have.
        cost: what it costs.
        meaning: one line that says what it computes.
    """

    name: str
    arity: int
    typing: Typing
    kinds: frozenset[Kind]
    cost: Cost
    meaning: str


_INT = frozenset({Kind.INT, Kind.UINT})
_FLOAT = frozenset({Kind.FLOAT})
_REAL = _INT | _FLOAT
_BITS = _INT | {Kind.BOOL}
_ANY = _REAL | {Kind.BOOL}


def _table() -> dict[str, ScalarOp]:
    same, compare = Typing.SAME, Typing.COMPARE
    cheap, dear, transcendental = Cost.CHEAP, Cost.DEAR, Cost.TRANSCENDENTAL
    rows: list[tuple[str, int, Typing, frozenset[Kind], Cost, str]] = [
        ("add", 2, same, _REAL, cheap, "a + b; integers wrap"),
        ("sub", 2, same, _REAL, cheap, "a - b; integers wrap"),
        ("mul", 2, same, _REAL, cheap, "a * b; integers wrap"),
        ("div", 2, same, _FLOAT, dear, "a / b"),
        ("floordiv", 2, same, _REAL, dear, "quotient rounded down; b is not 0 for integers"),
        ("mod", 2, same, _REAL, dear, "remainder with the sign of b; b is not 0 for integers"),
        ("truncdiv", 2, same, _INT, dear, "quotient rounded towards 0; b is not 0"),
        ("rem", 2, same, _REAL, dear, "remainder with the sign of a; b is not 0 for integers"),
        ("max", 2, same, _ANY, cheap, "the greater; NaN if either is"),
        ("min", 2, same, _ANY, cheap, "the lesser; NaN if either is"),
        ("pow", 2, same, _REAL, transcendental, "a to the power b; integers wrap, b >= 0"),
        ("atan2", 2, same, _FLOAT, transcendental, "angle of the point (b, a), in radians"),
        ("mulhi", 2, same, _INT, cheap, "the upper half of the double-width product"),
        ("neg", 1, same, _REAL, cheap, "-a; integers wrap"),
        ("abs", 1, same, _REAL, cheap, "|a|; integers wrap"),
        ("sign", 1, same, _REAL, cheap, "-1, 0 or 1; NaN gives NaN, both zeros give 0"),
        ("copysign", 2, same, _FLOAT, cheap, "|a| with the sign bit of b"),
        ("floor", 1, same, _FLOAT, cheap, "rounded down"),
        ("ceil", 1, same, _FLOAT, cheap, "rounded up"),
        ("trunc", 1, same, _FLOAT, cheap, "rounded towards 0"),
        ("round", 1, same, _FLOAT, cheap, "rounded to nearest, ties to even"),
        ("sqrt", 1, same, _FLOAT, dear, "square root"),
        ("and", 2, same, _BITS, cheap, "bitwise and; logical and of bools"),
        ("or", 2, same, _BITS, cheap, "bitwise or; logical or of bools"),
        ("xor", 2, same, _BITS, cheap, "bitwise exclusive or"),
        ("not", 1, same, _BITS, cheap, "bitwise complement; logical not of bools"),
        ("shl", 2, same, _INT, cheap, "a << b; 0 where b is outside [0, bits)"),
        ("shr", 2, same, _INT, cheap, "a >> b, arithmetic if signed; sign fill outside [0, bits)"),
        ("eq", 2, compare, _ANY, cheap, "a == b"),
        ("ne", 2, compare, _ANY, cheap, "a != b"),
        ("lt", 2, compare, _ANY, cheap, "a < b"),
        ("le", 2, compare, _ANY, cheap, "a <= b"),
        ("gt", 2, compare, _ANY, cheap, "a > b"),
        ("ge", 2, compare, _ANY, cheap, "a >= b"),
        ("isnan", 1, Typing.TEST, _FLOAT, cheap, "whether a is NaN"),
        ("isfinite", 1, Typing.TEST, _FLOAT, cheap, "whether a is neither NaN nor infinite"),
        ("select", 3, Typing.SELECT, _ANY, cheap, "b if a else c; both are evaluated"),
        ("cast", 1, Typing.CONVERT, _ANY, cheap, "a converted; float to int truncates"),
        ("bitcast", 1, Typing.CONVERT, _REAL, Cost.FREE, "the bits of a as another type"),
    ]
    for name, meaning in [
        ("exp", "e to the power a"), ("expm1", "exp(a) - 1"), ("exp2", "2 to the power a"),
        ("log", "natural logarithm"), ("log2", "base-2 logarithm"),
        ("log10", "base-10 logarithm"), ("log1p", "log(1 + a)"),
        ("sin", "sine, radians"), ("cos", "cosine, radians"), ("tan", "tangent, radians"),
        ("asin", "arc sine"), ("acos", "arc cosine"), ("atan", "arc tangent"),
        ("sinh", "hyperbolic sine"), ("cosh", "hyperbolic cosine"), ("tanh", "hyperbolic tangent"),
        ("asinh", "inverse hyperbolic sine"), ("acosh", "inverse hyperbolic cosine"),
        ("atanh", "inverse hyperbolic tangent"), ("erf", "error function"),
        ("erfc", "1 - erf(a), accurate where erf(a) is near 1"),
    ]:  # fmt: skip
        rows.append((name, 1, same, _FLOAT, transcendental, meaning))
    return {row[0]: ScalarOp(*row) for row in rows}


SCALAR_OPS: Mapping[str, ScalarOp] = _table()

TRUE = Const(True, dtypes.bool_)
FALSE = Const(False, dtypes.bool_)


def integer(value: int) -> Const:
    """Return an i64 constant, the type of indices."""
    return Const(int(value), dtypes.int64)


def axis(number: int) -> Var:
    """Return the variable that runs over axis `number` of a stage's domain."""
    return Var(f"i{number}")


def apply(op: str, *args: Expr, dtype: DType | None = None) -> Apply:
    """Build an operation, checking its operands; `dtype` is needed for conversions alone.

    Raises:
        AssertionError: the operands do not fit; expressions are built by smelt, never by users.
    """
    rule = SCALAR_OPS[op]
    assert len(args) == rule.arity, f"{op} takes {rule.arity} operands, not {len(args)}"
    found = tuple(a.dtype for a in args)
    values = found[1:] if rule.typing is Typing.SELECT else found
    assert all(d.kind in rule.kinds for d in values), f"{op} does not take {found}"
    assert len(set(values)) == 1, f"{op} needs operands of one dtype, not {found}"
    match rule.typing:
        case Typing.SAME:
            result = values[0]
        case Typing.COMPARE | Typing.TEST:
            result = dtypes.bool_
        case Typing.SELECT:
            assert found[0] is dtypes.bool_, f"{op} needs a bool condition, not {found[0]}"
            result = values[0]
        case Typing.CONVERT:
            assert dtype is not None, f"{op} needs a result dtype"
            result = dtype
    return Apply(op, args, result)


def cast(value: Expr, dtype: DType) -> Expr:
    """Return `value` converted to `dtype`, itself if it has it."""
    return value if value.dtype is dtype else apply("cast", value, dtype=dtype)


def select(condition: Expr, yes: Expr, no: Expr) -> Expr:
    """Return `yes` where `condition` holds, else `no`; folds a constant condition."""
    if isinstance(condition, Const):
        return yes if condition.value else no
    return apply("select", condition, yes, no)


def conjunction(*conditions: Expr | None) -> Expr | None:
    """Return the conjunction of those conditions that are given; None if there are none."""
    result: Expr | None = None
    for condition in conditions:
        if condition is None or condition == TRUE:
            continue
        result = condition if result is None else apply("and", result, condition)
    return result


def children(expr: Expr) -> tuple[Expr, ...]:
    """Return the direct subexpressions of `expr`."""
    match expr:
        case Apply(_, args, _):
            return args
        case Load(_, index):
            return index
        case _:
            return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """Yield `expr` and all its subexpressions, parents first."""
    stack: list[Expr] = [expr]
    while stack:
        found = stack.pop()
        yield found
        stack.extend(children(found))


def rebuild(expr: Expr, function: Callable[[Expr], Expr]) -> Expr:
    """Return `expr` with `function` applied to each of its direct subexpressions."""
    match expr:
        case Apply(op, args, dtype):
            new = tuple(function(a) for a in args)
            return expr if all(a is b for a, b in zip(args, new)) else Apply(op, new, dtype)
        case Load(buffer, index):
            new = tuple(function(a) for a in index)
            return expr if all(a is b for a, b in zip(index, new)) else Load(buffer, new)
        case _:
            return expr


def substitute(expr: Expr, values: Mapping[Expr, Expr]) -> Expr:
    """Return `expr` with each leaf or subtree that is a key of `values` replaced."""
    done: dict[Expr, Expr] = {}

    def visit(node: Expr) -> Expr:
        replacement = values.get(node)
        if replacement is not None:
            return replacement
        if node not in done:
            done[node] = rebuild(node, visit)
        return done[node]

    return visit(expr)


def variables(expr: Expr) -> frozenset[Var]:
    """Return the variables that occur in `expr`."""
    return frozenset(e for e in walk(expr) if isinstance(e, Var))


def of_dim(extent: int | Dim) -> Expr:
    """Return a dimension as an i64 expression over variables named as its symbols."""
    if isinstance(extent, int):
        return integer(extent)
    total: Expr | None = None
    for monomial, coefficient in extent.terms:
        term: Expr | None = None
        for atom in monomial:
            match atom:
                case dims.Symbol(name):
                    factor: Expr = Var(name)
                case dims.Quotient(op, a, b):
                    factor = apply("floordiv" if op == "//" else "mod", of_dim(a), of_dim(b))
            term = factor if term is None else apply("mul", term, factor)
        if term is None:
            term = integer(coefficient)
        elif coefficient != 1:
            term = apply("mul", term, integer(coefficient))
        total = term if total is None else apply("add", total, term)
    assert total is not None, "a Dim has at least one term"
    return total


def as_python(value: Any, dtype: DType) -> Scalar:
    """Return a NumPy or Python number as the Python value that a `Const` of `dtype` holds."""
    match dtype.kind:
        case Kind.BOOL:
            return bool(value)
        case Kind.INT | Kind.UINT:
            return int(value)
        case Kind.FLOAT:
            return float(value)
        case Kind.COMPLEX:
            raise AssertionError("complex values are split into real pairs before lowering")
