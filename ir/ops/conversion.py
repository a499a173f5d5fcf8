"""Conversions between dtypes: by value, and by the bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar, scalar_reference
from smelt.ir.dtypes import DType
from smelt.ir.errors import DTypeError
from smelt.ir.op import Lower, NoVjp, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import inference, sampling
from smelt.ir.ops.inference import REAL
from smelt.ir.scalar import Read
from smelt.ir.structured import Stage, elementwise
from smelt.ir.types import TensorType

Array = Any


Gradients = tuple[Operand | None, ...]


@dataclass(frozen=True, slots=True)
class CastAttrs:
    """The dtype of the result."""

    dtype: DType


def _cast_infer(attrs: CastAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    inference.expect_kind("cast", "x", types[0], inference.ANY)
    if attrs.dtype.is_complex:
        raise DTypeError(f"cast: {types[0]} to {attrs.dtype.name}: complex dtypes are not taken")
    return (types[0].with_dtype(attrs.dtype),)


def _cast_reference(xp: Any, attrs: CastAttrs, x: Array) -> Array:
    source = dtypes.of_numpy(x.dtype)
    if source.is_floating_point and attrs.dtype.is_integer:
        return xp.asarray(scalar_reference.evaluate("cast", x, dtype=attrs.dtype), order="C")
    with np.errstate(all="ignore"):
        if attrs.dtype.is_half and source is not dtypes.float32:
            # Half types are always reached through float32, as emitted code does.
            via = x.astype(np.float32)
            return via.astype(attrs.dtype.numpy, order="C")
        return x.astype(attrs.dtype.numpy, order="C")


def _cast_define(attrs: CastAttrs, x: TensorType) -> Stage:
    return elementwise(scalar.cast(Read(0, x.dtype), attrs.dtype), (x,))


def _cast_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x as a dtype;  backward gx = g as x's, none where either is no float."""
    source, target = s.input_types[0].dtype, s.output_types[0].dtype
    if not (source.is_floating_point and target.is_floating_point):
        return (None,)
    return (r.cast(g, source),)


def _cast_samples() -> Iterator[Sample]:
    pool = [dtypes.bool_, *dtypes.INTEGERS, *dtypes.FLOATS]
    for source in pool:
        x = sampling.normal(2, 3, dtype=source)
        for target in pool:
            yield Sample((x,), {"dtype": target})
    for source in dtypes.FLOATS:
        values = np.array([*sampling.SPECIAL, 3e9, -3e9, 1e19, 1e30, 300.7, -129.2])
        with np.errstate(over="ignore"):
            x = values.astype(source.numpy)
        for target in pool:
            yield Sample((x,), {"dtype": target}, differentiable=False)
    wide = np.array([2**63 - 1, -(2**63), 2**40 + 1, -1], np.int64)
    for target in pool:
        yield Sample((wide,), {"dtype": target})
    x = sampling.normal(3, 4)
    yield Sample((sampling.strided(x),), {"dtype": dtypes.float64})
    yield Sample((x[:, :0],), {"dtype": dtypes.int32})
    yield Sample((np.array(2.5),), {"dtype": dtypes.float32})


def _bitcast_infer(attrs: CastAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    inference.expect_kind("bitcast", "x", types[0], REAL)
    if attrs.dtype.bits != types[0].dtype.bits or attrs.dtype.kind not in REAL:
        raise DTypeError(
            f"bitcast: {types[0]} to {attrs.dtype.name}: both must be numbers of the same size"
        )
    return (types[0].with_dtype(attrs.dtype),)


def _bitcast_reference(xp: Any, attrs: CastAttrs, x: Array) -> Array:
    return x.copy(order="C").view(attrs.dtype.numpy)


def _bitcast_define(attrs: CastAttrs, x: TensorType) -> Stage:
    return elementwise(scalar.apply("bitcast", Read(0, x.dtype), dtype=attrs.dtype), (x,))


def _bitcast_samples() -> Iterator[Sample]:
    pairs = [
        (dtypes.float32, dtypes.int32), (dtypes.int32, dtypes.float32),
        (dtypes.uint32, dtypes.int32), (dtypes.float64, dtypes.uint64),
        (dtypes.uint64, dtypes.float64), (dtypes.bfloat16, dtypes.uint16),
        (dtypes.float16, dtypes.int16), (dtypes.int8, dtypes.uint8),
    ]  # fmt: skip
    for source, target in pairs:
        x = sampling.normal(2, 3, dtype=source)
        yield Sample((x,), {"dtype": target})
        yield Sample((sampling.strided(x),), {"dtype": target})
    yield Sample((np.array(1.0),), {"dtype": dtypes.int64})
    yield Sample((np.zeros((0,), np.float32),), {"dtype": dtypes.int32})


OPS: tuple[OpDef, ...] = (
    OpDef(
        "cast",
        "x converted to dtype",
        ("x",),
        infer=_cast_infer,
        rule=Lower(_cast_define),
        vjp=Vjp((), _cast_vjp),
        samples=_cast_samples,
        reference=_cast_reference,
        attrs=CastAttrs,
    ),
    OpDef(
        "bitcast",
        "the bits of x as dtype",
        ("x",),
        infer=_bitcast_infer,
        rule=Lower(_bitcast_define),
        vjp=NoVjp("bits have no derivative"),
        samples=_bitcast_samples,
        reference=_bitcast_reference,
        attrs=CastAttrs,
    ),
)
