"""Emit expressions of loop IR."""

from __future__ import annotations

from smelt.codegen.llvm import arithmetic, memory
from smelt.codegen.llvm.scope import Frame, Scope
from smelt.codegen.llvm.values import (
    FALSE,
    TRUE,
    Operand,
    Value,
    float_constant,
    half_bits,
    integer_constant,
    register_type,
)
from smelt.ir.dtypes import Kind
from smelt.ir.loop.grammar import Buffer
from smelt.ir.scalar import Apply, Const, Expr, Load, Read, Var, of_dim

Known = dict[int, Operand]
"""Values of the subexpressions of one statement, by identity: shared ones are computed once."""


def evaluate(frame: Frame, scope: Scope, expr: Expr, known: Known | None = None) -> Operand:
    """Write the computation of `expr` and return its value."""
    known = {} if known is None else known
    found = known.get(id(expr))
    if found is None:
        found = known[id(expr)] = _evaluate(frame, scope, expr, known)
    return found


def _evaluate(frame: Frame, scope: Scope, expr: Expr, known: Known) -> Operand:
    match expr:
        case Const():
            return constant(expr)
        case Var(name):
            return scope.variables[name]
        case Load(buffer, index):
            place = offset(frame, scope, buffer, index, known)
            return memory.load(frame.w, scope, buffer, scope.memory[buffer], place)
        case Apply(op, args, dtype):
            operands = tuple(evaluate(frame, scope, a, known) for a in args)
            return arithmetic.apply(frame.w, op, operands, args[-1].dtype, dtype)
        case Read():
            raise AssertionError("a Read occurs in stages only, which have been lowered")


def constant(expr: Const) -> Value:
    """Return a constant as a value."""
    match expr.dtype.kind:
        case Kind.BOOL:
            return TRUE if expr.value else FALSE
        case Kind.FLOAT if expr.dtype.is_half:
            return integer_constant(half_bits(float(expr.value), expr.dtype), "i16")
        case Kind.FLOAT:
            return float_constant(float(expr.value), register_type(expr.dtype))
        case _:
            return integer_constant(int(expr.value), register_type(expr.dtype))


def scalar(frame: Frame, scope: Scope, expr: Expr) -> Value:
    """Return the value of an expression that is the same in all lanes."""
    value = evaluate(frame, scope, expr)
    assert isinstance(value, Value) and not value.lanes, f"{expr} differs between lanes"
    return value


def offset(
    frame: Frame, scope: Scope, buffer: Buffer, index: tuple[Expr, ...], known: Known
) -> Operand:
    """Return the number in memory of the element of `buffer` at `index`."""
    positions = tuple(evaluate(frame, scope, i, known) for i in index)
    # Not in `known`: the expressions of dimensions do not live as long as it does.
    steps = tuple(
        integer_constant(s) if isinstance(s, int) else evaluate(frame, scope, of_dim(s))
        for s in buffer.strides
    )
    copies = scope.memory[buffer].lanes
    return memory.element_offset(frame.w, scope, positions, steps, copies)
