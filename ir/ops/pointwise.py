"""What the elementwise families share: how a scalar operation becomes an op.

Half types compute in float32 and round once, in the references and in the definitions, where the
conversions are written out; so do the vjps of functions that `widened` wraps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar, scalar_reference
from smelt.ir.op import Operand, Rules, Saved
from smelt.ir.scalar import Expr, Read
from smelt.ir.structured import DataCheck, Stage, elementwise
from smelt.ir.types import TensorType

Array = Any
Reference = Callable[..., Array]
Body = Callable[..., Expr]

_HALVES = frozenset({dtypes.float16.numpy, dtypes.bfloat16.numpy})


def is_half(x: Array) -> bool:
    """Tell whether an array has a 16-bit floating-point dtype."""
    return x.dtype.itemsize == 2 and x.dtype in _HALVES


def reference(name: str, result: np.dtype[Any] | None = None) -> Reference:
    """Return the reference of the scalar operation `name` on arrays of one shape and dtype.

    `result` is the dtype it gives, where that is not the operands'.
    """
    function = scalar_reference.FUNCTIONS[name]
    rounded = result is None and name in scalar_reference.ROUNDED
    if isinstance(function, np.ufunc):
        return _ufunc_reference(function.__name__, result, rounded)

    def through_table(xp: Any, attrs: Any, *xs: Array) -> Array:
        return xp.asarray(scalar_reference.evaluate(name, *xs), order="C")

    return through_table


def _ufunc_reference(ufunc: str, result: np.dtype[Any] | None, rounded: bool) -> Reference:
    def through_ufunc(xp: Any, attrs: Any, *xs: Array) -> Array:
        first = xs[0]
        function = getattr(xp, ufunc)
        with np.errstate(all="ignore"):
            if rounded and is_half(first):
                wide = function(*(x.astype(np.float32, order="C") for x in xs))
                return xp.asarray(wide).astype(first.dtype, copy=False)
            return function(*xs, out=xp.empty(first.shape, result or first.dtype))

    return through_ufunc


def wide(dtype: dtypes.DType) -> dtypes.DType:
    """Return the dtype in which an elementwise op of `dtype` computes."""
    return dtypes.float32 if dtype.is_half else dtype


def definition(body: str | Body) -> Callable[..., Stage]:
    """Return the definition of an elementwise op; a result of a half type is rounded once.

    `body` is a scalar operation, or a function of the operands' scalars giving an expression.
    """

    def define(attrs: Any, *types: TensorType) -> Stage:
        return elementwise(_body(body, types), types)

    return define


def checked(body: str | Body, check: Callable[..., DataCheck]) -> Callable[..., Stage]:
    """Return a definition that checks its data where they are integers."""

    def define(attrs: Any, *types: TensorType) -> Stage:
        stage = elementwise(_body(body, types), types)
        if not types[0].dtype.is_integer:
            return stage
        reads = tuple(Read(k, t.dtype) for k, t in enumerate(types))
        return replace(stage, checks=(check(*reads),))

    return define


def _body(body: str | Body, types: tuple[TensorType, ...]) -> Expr:
    narrow = types[0].dtype
    reads = tuple(scalar.cast(Read(k, t.dtype), wide(t.dtype)) for k, t in enumerate(types))
    found = scalar.apply(body, *reads) if isinstance(body, str) else body(*reads)
    return scalar.cast(found, narrow) if found.dtype is wide(narrow) else found


def widened(rule: Callable[..., tuple[Operand | None, ...]]) -> Callable[..., Any]:
    """Return a vjp rule that computes in float32 where the operands are of a half type."""

    def wrapped(r: Rules, s: Saved, *cotangents: Operand) -> tuple[Operand | None, ...]:
        narrow = s.input_types[0].dtype
        if not narrow.is_half:
            return rule(r, s, *cotangents)
        values = {name: _widen(r, value) for name, value in s.values.items()}
        types = tuple(_wide_type(t) for t in s.input_types)
        outputs = tuple(_wide_type(t) for t in s.output_types)
        saved = replace(s, values=values, input_types=types, output_types=outputs)
        found = rule(r, saved, *(_widen(r, g) for g in cotangents))
        return tuple(
            None if g is None else r.cast(g, t.dtype) for g, t in zip(found, s.input_types)
        )

    return wrapped


def _widen(r: Rules, value: Operand) -> Operand:
    return r.cast(value, dtypes.float32) if r.type(value).dtype.is_half else value


def _wide_type(found: TensorType) -> TensorType:
    return found.with_dtype(wide(found.dtype))


def zero_gradient(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate a step function: forward y = f(x), backward gx = 0."""
    return tuple(r.full(0.0, t) if n else None for t, n in zip(s.input_types, s.needs))
