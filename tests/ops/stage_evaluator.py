"""Evaluate a `Stage` by NumPy over its whole domain at once: an independent referee.

It knows nothing of loops: index maps become arrays of indices, predicates become masks, and a
reduction folds one line after another with the monoid's own expressions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from smelt.ir import dim as dims
from smelt.ir import dtypes, scalar_reference
from smelt.ir.dtypes import DType
from smelt.ir.errors import IndexRangeError, IntegerDivisionError, SmeltError
from smelt.ir.scalar import Apply, Const, Expr, Load, Read, Var
from smelt.ir.structured import (
    DATA_ERRORS,
    INDEX_OUT_OF_RANGE,
    INTEGER_DIVISION_BY_ZERO,
    Stage,
    accumulated,
    left,
    right,
)

Array = np.ndarray[Any, Any]
Values = Mapping[Expr, Array]


def evaluate(expr: Expr, values: Values) -> Array:
    """Return the value of an expression whose leaves have the given values."""
    found = values.get(expr)
    if found is not None:
        return found
    match expr:
        case Const(value, dtype):
            return _constant(value, dtype)
        case Apply(op, args, dtype):
            arrays = np.broadcast_arrays(*(evaluate(a, values) for a in args))
            result = scalar_reference.evaluate(op, *(a.copy() for a in arrays), dtype=dtype)
            result = np.asarray(result)
            assert result.dtype == dtype.numpy, f"{op} gives {result.dtype}, not {dtype}"
            return result
        case Var() | Read() | Load():
            raise AssertionError(f"{expr} has no value here")


def _constant(value: Any, dtype: DType) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(value).astype(dtype.numpy)


def run_stage(
    stage: Stage, operands: Sequence[Array], sizes: Mapping[str, int] | None = None
) -> tuple[Array, ...]:
    """Return the results of a stage.

    Raises:
        SmeltError: a check on data failed, of the class that its code stands for.
    """
    sizes = {} if sizes is None else sizes
    domain = tuple(dims.evaluate(n, sizes) for n in stage.domain)
    values: dict[Expr, Array] = {Var(n): np.asarray(v, np.int64) for n, v in sizes.items()}
    for k, grid in enumerate(np.indices(domain, np.int64)):
        values[Var(f"i{k}")] = grid
    for number, reader in enumerate(stage.readers):
        operand = operands[reader.operand]
        dtype = dtypes.of_numpy(operand.dtype)
        index = [np.broadcast_to(evaluate(e, values), domain) for e in reader.index]
        inside = np.ones(domain, np.bool_)
        if reader.inside is not None:
            inside = np.broadcast_to(evaluate(reader.inside, values), domain)
        values[Read(number, dtype)] = _gather(operand, index, inside, reader.fill, stage, values)
    for check in stage.checks:
        _verify(check, values)
    bodies = [np.broadcast_to(evaluate(e, values), domain) for e in stage.body]
    if stage.combine is not None:
        bodies = _fold(stage, bodies, domain)
        if stage.finish:
            kept = {accumulated(k, dtypes.of_numpy(b.dtype)): b for k, b in enumerate(bodies)}
            bodies = [evaluate(e, {**_symbols(values, sizes), **kept}) for e in stage.finish]
    shape = tuple(domain[a] for a in stage.parallel_axes)
    return tuple(np.broadcast_to(b, shape).copy() for b in bodies)


def _symbols(values: Values, sizes: Mapping[str, int]) -> dict[Expr, Array]:
    return {Var(n): values[Var(n)] for n in sizes}


def _gather(
    operand: Array,
    index: list[Array],
    inside: Array,
    fill: Const | None,
    stage: Stage,
    values: Values,
) -> Array:
    """Read `operand` where `inside` holds, and nowhere else."""
    result = np.empty(inside.shape, operand.dtype)
    if fill is not None:
        result[...] = _constant(fill.value, fill.dtype)
    where = tuple(i[inside] for i in index)
    for number, (positions, extent) in enumerate(zip(where, operand.shape)):
        if ((positions < 0) | (positions >= extent)).any():
            for check in stage.checks:
                _verify(check, values)
            raise AssertionError(f"index {positions} of dimension {number} is outside {extent}")
    result[inside] = operand[where] if where else operand[()]
    return result


def _verify(check: Any, values: Values) -> None:
    try:
        holds = evaluate(check.holds, values)
    except AssertionError:
        return  # It reads what the readers have not delivered yet.
    if np.all(holds):
        return
    first = tuple(np.argwhere(~np.atleast_1d(holds))[0])
    value, limit = (
        int(np.broadcast_to(evaluate(e, values), np.atleast_1d(holds).shape)[first])
        for e in (check.value, check.limit)
    )
    kinds: dict[int, type[SmeltError]] = {
        INDEX_OUT_OF_RANGE: IndexRangeError,
        INTEGER_DIVISION_BY_ZERO: IntegerDivisionError,
    }
    raise kinds[check.code](DATA_ERRORS[check.code].format(value=value, limit=limit))


def _fold(stage: Stage, bodies: list[Array], domain: tuple[int, ...]) -> list[Array]:
    """Combine over the reduction axes, in the order of the domain."""
    monoid = stage.combine
    assert monoid is not None, "a reduction has a monoid"
    order = (*stage.parallel_axes, *stage.reduce_axes)
    shape = tuple(domain[a] for a in stage.parallel_axes)
    length = int(np.prod([domain[a] for a in stage.reduce_axes], dtype=np.int64))
    lines = [b.transpose(order).reshape(*shape, length) for b in bodies]
    total = [np.broadcast_to(_constant(c.value, c.dtype), shape) for c in monoid.identity]
    for k in range(length):
        values: dict[Expr, Array] = {}
        for component, (before, line) in enumerate(zip(total, lines)):
            dtype = monoid.identity[component].dtype
            values[left(component, dtype)] = before
            values[right(component, dtype)] = line[..., k]
        total = [np.broadcast_to(evaluate(e, values), shape) for e in monoid.combine]
    return total
