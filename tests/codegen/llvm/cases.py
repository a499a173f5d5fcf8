"""Kernels that apply one scalar operation, and numbers that are hard for it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar
from smelt.ir.dtypes import DType
from smelt.ir.dtypes import Kind as NumberKind
from smelt.ir.loop.grammar import For, Kernel, Kind, Stmt, Store
from smelt.ir.scalar import SCALAR_OPS, Apply, Expr, Load, Typing, Var, integer

from tests.codegen.llvm.native import buffer

ROW, LANE = Var("i"), Var("lane")

REAL = tuple(d for d in dtypes.ALL if d.kind is not NumberKind.COMPLEX)


def operand_dtypes(op: str) -> list[DType]:
    """Return the dtypes that an operation is defined for."""
    return [d for d in REAL if d.kind in SCALAR_OPS[op].kinds]


def result_dtypes(op: str, dtype: DType) -> list[DType]:
    """Return what an operation on `dtype` may give; more than one for conversions."""
    match op:
        case "cast":
            return [d for d in REAL if d is not dtype]
        case "bitcast":
            return [
                d for d in REAL
                if d.bits == dtype.bits and d is not dtype and d.kind is not NumberKind.BOOL
            ]  # fmt: skip
        case _ if SCALAR_OPS[op].typing in (Typing.COMPARE, Typing.TEST):
            return [dtypes.bool_]
        case _:
            return [dtype]


def elementwise(name: str, result: DType, inputs: list[DType], body: Any, count: int,
                lanes: int) -> Kernel:  # fmt: skip
    """Return a kernel `out[i] = body(in0[i], in1[i], …)` over vectors of `lanes`, or scalars."""
    params = [buffer(f"in{n}", d, count) for n, d in enumerate(inputs)]
    out = buffer(f"out_{name}", result, count)
    at: Expr = ROW if lanes == 1 else scalar.apply("add", ROW, LANE)
    store: Stmt = Store(out, (at,), body(*(Load(p, (at,)) for p in params)))
    if lanes > 1:
        assert count % lanes == 0
        store = For(LANE, integer(0), integer(lanes), Kind.VECTOR, (store,))
    loop = For(ROW, integer(0), integer(count), Kind.SERIAL, (store,), step=lanes)
    return Kernel(name, (*params, out), (loop,), written=frozenset({out.name}))


def applied(op: str, dtype: DType, result: DType, count: int, lanes: int) -> Kernel:
    """Return the kernel that applies `op` to elements of `dtype`."""
    rule = SCALAR_OPS[op]
    inputs = [dtype] * rule.arity
    if rule.typing is Typing.SELECT:
        inputs[0] = dtypes.bool_
    name = f"{op}_{dtype.name}_{result.name}_{lanes}"
    return elementwise(name, result, inputs, lambda *v: Apply(op, v, result), count, lanes)


def interesting(dtype: DType) -> Any:
    """Return numbers at which operations go wrong: limits, zeros, halves, NaN, infinities."""
    if dtype.kind is NumberKind.BOOL:
        return np.array([False, True])
    if dtype.kind is not NumberKind.FLOAT:
        limits = np.iinfo(dtype.numpy)
        near = [0, 1, 2, 3, 5, 7, 10, 31, 63, 64, 100, limits.max, limits.max - 1, limits.min]
        if limits.min < 0:
            near += [-1, -2, -3, -7, -10, limits.min + 1]
        return np.array(near, dtype.numpy)
    plain = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.7, 7.0, 127.5, 255.0, 300.25, 1e4, 65504.0,
             1e-3, 3e-8, 1e-5, 1e10, 2.0**31, 2.0**31 - 1, 2.0**32, 2.0**63, 1e19, 3e38, 1e-45,
             1.2e-38, 1e300, 5e-324, 2.2e-308, np.inf]  # fmt: skip
    with np.errstate(all="ignore"):
        both = np.array([*plain, *(-v for v in plain), np.nan])
        return np.unique(both.astype(dtype.numpy).view(f"u{dtype.itemsize}")).view(dtype.numpy)


@cache
def operands(op: str, dtype: DType) -> tuple[Any, ...]:
    """Return operands for `op`: all pairs of interesting numbers, and random ones."""
    rng = np.random.default_rng(7)
    first = interesting(dtype)
    spread = np.concatenate([first, random(dtype, rng, 64)])
    rule = SCALAR_OPS[op]
    match rule.arity, rule.typing:
        case 1, _:
            columns = [spread]
        case 2, _:
            columns = [np.repeat(first, len(first)), np.tile(first, len(first))]
            columns = [np.concatenate([c, random(dtype, rng, 256)]) for c in columns]
        case _:
            columns = [rng.random(64) < 0.5, random(dtype, rng, 64), random(dtype, rng, 64)]
    if dtype.is_integer and op in ("floordiv", "mod", "truncdiv", "rem"):
        keep = columns[1] != 0
        columns = [c[keep] for c in columns]
    if dtype.is_integer and op == "pow":
        columns[1] = np.where(columns[1] < 0, -(columns[1] // 2) - 1, columns[1]).astype(
            dtype.numpy
        )
        keep = columns[1] >= 0
        columns = [c[keep] for c in columns]
    return tuple(np.ascontiguousarray(c) for c in columns)


def random(dtype: DType, rng: np.random.Generator, count: int) -> Any:
    """Return random numbers of moderate size."""
    if dtype.kind is NumberKind.BOOL:
        return rng.random(count) < 0.5
    if dtype.kind is NumberKind.FLOAT:
        return (rng.standard_normal(count) * 10.0).astype(dtype.numpy)
    limits = np.iinfo(dtype.numpy)
    return rng.integers(max(limits.min, -1000), min(limits.max, 1000), count).astype(dtype.numpy)


def padded(column: Any, lanes: int) -> Any:
    """Return an array with its last element repeated up to a multiple of `lanes`."""
    extra = -len(column) % lanes
    return np.concatenate([column, np.repeat(column[-1:], extra)])


def exact_cases() -> Iterator[tuple[str, DType, DType]]:
    """Yield the operations that have one right result, at every dtype."""
    for op, rule in SCALAR_OPS.items():
        if rule.cost is scalar.Cost.TRANSCENDENTAL and op != "pow":
            continue
        for dtype in operand_dtypes(op):
            if op == "pow" and dtype.kind is NumberKind.FLOAT:
                continue
            for result in result_dtypes(op, dtype):
                yield op, dtype, result
