"""Contractions: the matrix product, and the linear layer made of it.

Operands of half types are multiplied and accumulated in float32 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar, structured
from smelt.ir.dim import Dim
from smelt.ir.errors import TypeInferenceError
from smelt.ir.op import Decompose, Lower, NoAttrs, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import inference, pointwise, sampling
from smelt.ir.scalar import Read
from smelt.ir.structured import Reader, Stage
from smelt.ir.types import TensorType

Array = Any
Gradients = tuple[Operand | None, ...]


def _matmul_infer(attrs: NoAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    a, b = types
    inference.expect_kind("matmul", "a", a, inference.REAL)
    inference.expect_same_dtype("matmul", ("a", "b"), types)
    inference.expect_rank("matmul", "a", a, 2, None)
    inference.expect_rank("matmul", "b", b, 2, None)
    if not inference.same_shape(a.shape[:-2], b.shape[:-2]):
        raise TypeInferenceError(f"matmul: batch dimensions differ: a is {a}, b is {b}")
    if not inference.same_shape(a.shape[-1:], b.shape[-2:-1]):
        raise TypeInferenceError(
            f"matmul: a has {a.shape[-1]} columns, but b has {b.shape[-2]} rows: a is {a}, b is {b}"
        )
    return (a.with_shape((*a.shape[:-1], b.shape[-1])),)


def _product(xp: Any, a: Array, b: Array) -> Array:
    """Return the matrix product of arrays that are not of a half type, row-major."""
    with np.errstate(all="ignore"):
        return xp.matmul(a, b, out=xp.empty((*a.shape[:-1], b.shape[-1]), a.dtype))


def _matmul_reference(xp: Any, attrs: NoAttrs, a: Array, b: Array) -> Array:
    if pointwise.is_half(a):
        product = _product(xp, a.astype(np.float32), b.astype(np.float32))
        with np.errstate(over="ignore"):
            return product.astype(a.dtype)
    return _product(xp, a, b)


def _matmul_define(attrs: NoAttrs, a: TensorType, b: TensorType) -> Stage:
    rank = a.rank
    axes = tuple(scalar.axis(d) for d in range(rank + 1))
    *batch, m, n, k = axes
    dtype = a.dtype.accumulator
    factors = (scalar.cast(Read(i, a.dtype), dtype) for i in (0, 1))
    total = structured.accumulated(0, dtype)
    return Stage(
        (*a.shape[:-1], b.shape[-1], a.shape[-1]),
        (Reader(0, (*batch, m, k)), Reader(1, (*batch, k, n))),
        (scalar.apply("mul", *factors),),
        (rank,),
        structured.monoid("add", dtype),
        () if dtype is a.dtype else (scalar.cast(total, a.dtype),),
    )


def transpose(r: Rules, x: Operand) -> Operand:
    """Return `x` with its last two dimensions exchanged."""
    rank = r.type(x).rank
    return r.permute(x, (*range(rank - 2), rank - 1, rank - 2))


def _matmul_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = a b;  backward ga = g bᵀ, gb = aᵀ g."""
    return (
        r("matmul", g, transpose(r, s["b"])) if s.needs[0] else None,
        r("matmul", transpose(r, s["a"]), g) if s.needs[1] else None,
    )


def _matmul_samples() -> Iterator[Sample]:
    for dtype in (*dtypes.FLOATS, dtypes.int32, dtypes.int64, dtypes.uint8):
        a = sampling.normal(3, 4, dtype=dtype, seed=1)
        b = sampling.normal(4, 5, dtype=dtype, seed=2)
        yield Sample((a, b), {})
    a, b = sampling.normal(2, 3, 4, seed=1), sampling.normal(2, 4, 5, seed=2)
    yield Sample((a, b), {})
    yield Sample((sampling.strided(a), sampling.strided(b)), {})
    yield Sample((a[0], b[1].T.copy().T), {})
    yield Sample((a[:, :1], b[..., :1]), {})
    yield Sample((a[:, :, :0], b[:, :0]), {})
    yield Sample((a[:, :0], b), {})
    yield Sample((a[:0], b[:0]), {})
    yield Sample((sampling.normal(2, 1, 3, 4), sampling.normal(2, 1, 4, 2)), {})
    for dtype in (dtypes.bfloat16, dtypes.float32, dtypes.float64):
        # Larger than a tile, with remainders in every direction.
        a = sampling.normal(37, 45, dtype=dtype, seed=1)
        b = sampling.normal(45, 50, dtype=dtype, seed=2)
        yield Sample((a, b), {}, differentiable=False)
        yield Sample((a.T.copy().T, b.T.copy().T), {}, differentiable=False)
    special = np.array([[1.0, np.inf], [np.nan, 0.0]])
    yield Sample((special, special), {}, differentiable=False)


def _linear_infer(attrs: NoAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    if len(types) not in (2, 3):
        raise TypeInferenceError(
            f"linear: takes (x, weight) or (x, weight, bias), but {len(types)} operands arrived"
        )
    names = ("x", "weight", "bias")
    x, weight = types[:2]
    inference.expect_kind("linear", "x", x, inference.FLOAT)
    inference.expect_same_dtype("linear", names, types)
    inference.expect_rank("linear", "x", x, 1, None)
    inference.expect_rank("linear", "weight", weight, 2, 2)
    if not inference.same_shape(x.shape[-1:], weight.shape[1:]):
        raise TypeInferenceError(
            f"linear: x has {x.shape[-1]} features, but weight takes {weight.shape[1]}: "
            f"x is {x}, weight is {weight}"
        )
    if len(types) == 3 and not inference.same_shape(types[2].shape, weight.shape[:1]):
        raise TypeInferenceError(
            f"linear: bias must have shape [{weight.shape[0]}], but is {types[2]}"
        )
    return (x.with_shape((*x.shape[:-1], weight.shape[0])),)


def _linear_reference(xp: Any, attrs: NoAttrs, x: Array, weight: Array, *bias: Array) -> Array:
    narrow = x.dtype
    if pointwise.is_half(x):
        x, weight = x.astype(np.float32), weight.astype(np.float32)
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    out = _product(xp, rows, weight.T)
    with np.errstate(all="ignore"):
        if bias:
            xp.add(out, bias[0], out=out)
        return out.reshape(*x.shape[:-1], weight.shape[0]).astype(narrow, copy=False)


def _rows(r: Rules, x: Operand) -> Operand:
    """Return `x` as a matrix with its last dimension as the columns."""
    shape = r.type(x).shape
    count: int | Dim = 1
    for extent in shape[:-1]:
        count = count * extent
    return r.reshape(x, (count, shape[-1]))


def _linear_decompose(
    r: Rules, attrs: NoAttrs, x: Operand, weight: Operand, *bias: Operand
) -> Operand:
    found = r.type(x)
    wide = found.dtype.accumulator
    x, weight = r.cast(x, wide), r.cast(weight, wide)
    product = r("matmul", _rows(r, x), transpose(r, weight))
    if bias:
        product = r("add", product, r.expand(r.cast(bias[0], wide), r.type(product).shape))
    out = r.reshape(product, (*found.shape[:-1], r.type(weight).shape[0]))
    return r.cast(out, found.dtype)


def _linear_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x wᵀ + b;  backward gx = g w, gw = gᵀ x, gb = Σ g over all rows."""
    rows = _rows(r, g)
    gx = gw = None
    if s.needs[0]:
        gx = r.reshape(r("matmul", rows, s["weight"]), s.input_types[0].shape)
    if s.needs[1]:
        gw = r("matmul", transpose(r, rows), _rows(r, s["x"]))
    if len(s.needs) == 2:
        return gx, gw
    return gx, gw, r.sum(rows, (0,)) if s.needs[2] else None


def _linear_samples() -> Iterator[Sample]:
    for dtype in dtypes.FLOATS:
        x = sampling.normal(3, 4, dtype=dtype, seed=1)
        weight = sampling.normal(5, 4, dtype=dtype, seed=2)
        bias = sampling.normal(5, dtype=dtype, seed=3)
        yield Sample((x, weight), {})
        yield Sample((x, weight, bias), {})
    x, weight = sampling.normal(2, 3, 4, seed=1), sampling.normal(5, 4, seed=2)
    bias = sampling.normal(5, seed=3)
    yield Sample((x, weight, bias), {})
    yield Sample((sampling.strided(x), sampling.strided(weight), bias), {})
    yield Sample((x[0, 0].copy(), weight, bias), {})
    yield Sample((x[:, :0], weight, bias), {})
    yield Sample((x[:, :, :0], weight[:, :0], bias), {})
    yield Sample((x[0, 0, :0], weight[:, :0], bias), {})
    x, weight = sampling.normal(35, 20, seed=1), sampling.normal(70, 20, seed=2)
    yield Sample((x, weight, sampling.normal(70, seed=3)), {}, differentiable=False)


OPS: tuple[OpDef, ...] = (
    OpDef(
        "matmul",
        "Σₖ a[…,m,k] b[…,k,n]",
        ("a", "b"),
        infer=_matmul_infer,
        rule=Lower(_matmul_define),
        vjp=Vjp(("a", "b"), _matmul_vjp),
        samples=_matmul_samples,
        reference=_matmul_reference,
    ),
    OpDef(
        "linear",
        "x weightᵀ + bias",
        ("x", "weight", "*bias"),
        infer=_linear_infer,
        rule=Decompose(_linear_decompose),
        vjp=Vjp(("x", "weight"), _linear_vjp),
        samples=_linear_samples,
        reference=_linear_reference,
    ),
)
