"""Ops that carry values and compute nothing: constants, identities, sizes, gradients, groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from smelt.ir import dim as dims
from smelt.ir import dtypes, scalar
from smelt.ir.constant import ConstantValue
from smelt.ir.dim import Dim
from smelt.ir.errors import ArgumentError, DTypeError, TypeInferenceError
from smelt.ir.graph import Graph
from smelt.ir.layout import Layout
from smelt.ir.op import Expand, Lower, NoAttrs, NoVjp, OpDef, Region, Rules, Sample, Saved, Vjp
from smelt.ir.ops import expect
from smelt.ir.scalar import Read
from smelt.ir.structured import Reader, Stage, identity_index, movement
from smelt.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class ConstantAttrs:
    """Attributes of `constant`."""

    value: ConstantValue


@dataclass(frozen=True, slots=True)
class DimValueAttrs:
    """Attributes of `dim_value`."""

    dim: int | Dim


@dataclass(frozen=True, slots=True)
class GradAttrs:
    """Attributes of `grad`.

    Attributes:
        outputs: how many values are differentiated.
    """

    outputs: int


def _constant_infer(attrs: ConstantAttrs) -> tuple[TensorType, ...]:
    return (attrs.value.type,)


def _constant_reference(xp: Any, attrs: ConstantAttrs) -> Any:
    return xp.array(attrs.value.array, order="C", copy=True)


def _constant_define(attrs: ConstantAttrs) -> Stage:
    """Read the buffer that the program places among its constants, as if it were operand 0."""
    kind = attrs.value.type
    return Stage(kind.shape, (Reader(0, identity_index(kind.rank)),), (Read(0, kind.dtype),))


def _constant_samples() -> Iterable[Sample]:
    arrays: tuple[np.ndarray[Any, Any], ...] = (
        np.array([[1.5, -0.0], [np.inf, np.nan]], np.float32),
        np.array(7, np.int64),
        np.zeros((0, 3), np.float64),
        np.array([True, False, True]),
        np.array([1, -2.5], ml_dtypes.bfloat16),
        np.arange(40, dtype=np.float32),
    )
    for array in arrays:
        yield Sample((), {"value": ConstantValue(array)})


def _same_type(attrs: NoAttrs, x: TensorType) -> tuple[TensorType, ...]:
    return (x,)


def _identity_define(attrs: NoAttrs, x: TensorType) -> Stage:
    return movement(x, x.shape, identity_index(x.rank))


def _detach_reference(xp: Any, attrs: NoAttrs, x: Any) -> Any:
    return x


def _detach_view(attrs: NoAttrs, layout: Layout) -> Layout:
    return layout


def _contiguous_reference(xp: Any, attrs: NoAttrs, x: Any) -> Any:
    return xp.array(x, order="C", copy=True)


def _contiguous_view(attrs: NoAttrs, layout: Layout) -> Layout | None:
    return layout if layout.is_contiguous else None


def _contiguous_vjp(r: Rules, saved: Saved, g: Any) -> tuple[Any, ...]:
    """Forward x -> x; backward g -> g."""
    return (g,)


def _identity_samples() -> Iterable[Sample]:
    grid = np.arange(12, dtype=np.float32).reshape(3, 4)
    arrays: tuple[np.ndarray[Any, Any], ...] = (
        grid.T,
        grid[::2, 1:],
        np.array(2.5),
        np.zeros((2, 0), np.float32),
        np.array([3, 1, 2])[::-1],
        np.array([np.nan, -np.inf, -0.0], np.float16),
    )
    for array in arrays:
        yield Sample((array,), {}, differentiable=bool(np.isfinite(array).all()))


def _overwrite_infer(attrs: NoAttrs, x: TensorType, value: TensorType) -> tuple[TensorType, ...]:
    expect.same_type("overwrite", x=x, value=value)
    return (x,)


def _overwrite_reference(xp: Any, attrs: NoAttrs, x: Any, value: Any) -> Any:
    return xp.array(value, order="C", copy=True)


def _overwrite_define(attrs: NoAttrs, x: TensorType, value: TensorType) -> Stage:
    return Stage(x.shape, (Reader(1, identity_index(x.rank)),), (Read(0, x.dtype),))


def _overwrite_vjp(r: Rules, saved: Saved, g: Any) -> tuple[Any, ...]:
    """Forward x, value -> value; backward g -> g, None."""
    return (g, None)


def _overwrite_samples() -> Iterable[Sample]:
    grid = np.arange(6, dtype=np.float32).reshape(2, 3)
    yield Sample((grid, -grid[::-1]), {}, differentiable=False)
    yield Sample((np.array(2.5), np.array(np.nan)), {}, differentiable=False)
    yield Sample((np.zeros((2, 0)), np.zeros((2, 0))), {}, differentiable=False)


def _dim_value_infer(attrs: DimValueAttrs) -> tuple[TensorType, ...]:
    return (TensorType(dtypes.int64, ()),)


def _dim_value_reference(xp: Any, attrs: DimValueAttrs) -> Any:
    if not dims.is_static(attrs.dim):
        raise ArgumentError(f"dim_value: the size {attrs.dim} has no value outside a program")
    return xp.asarray(attrs.dim, dtype=np.int64)


def _dim_value_define(attrs: DimValueAttrs) -> Stage:
    return Stage((), (), (scalar.of_dim(attrs.dim),))


def _dim_value_samples() -> Iterable[Sample]:
    for value in (0, 1, 12):
        yield Sample((), {"dim": value})


def _grad_infer(attrs: GradAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    count = attrs.outputs
    if count < 1 or len(types) < 2 * count:
        raise ArgumentError(
            f"grad: expected {count} values to differentiate and as many cotangents, at least one "
            f"of each; got {len(types)} operands"
        )
    for position, (value, seed) in enumerate(zip(types[:count], types[count : 2 * count])):
        if value != seed:
            raise TypeInferenceError(
                f"grad: the cotangent of ys[{position}] must have its type {value}; it is {seed}"
            )
    for position, kind in enumerate(types):
        if not (kind.dtype.is_floating_point or kind.dtype.is_complex):
            raise DTypeError(f"grad: operand {position} must be floating-point; it is {kind}")
    return types[2 * count :]


def _fusion_infer(
    attrs: NoAttrs, *types: TensorType, regions: tuple[Graph, ...]
) -> tuple[TensorType, ...]:
    if len(regions) != 1:
        raise TypeInferenceError(f"fusion: owns one graph; got {len(regions)}")
    expected = tuple(v.type for v in regions[0].inputs)
    if types != expected:
        raise TypeInferenceError(
            f"fusion: the group takes {_listed(expected)}; the operands are {_listed(types)}"
        )
    return tuple(v.type for v in regions[0].outputs)


def _listed(types: tuple[TensorType, ...]) -> str:
    return f"({', '.join(map(str, types))})"


def _fusion_evaluate(
    run: Callable[..., tuple[Any, ...]], attrs: NoAttrs, regions: tuple[Graph, ...], *xs: Any
) -> tuple[Any, ...]:
    return run(regions[0], xs)


def _fusion_samples() -> Iterable[Sample]:
    group = """graph mul_add(%x: f32[2,3], %y: f32[2,3]) {
      %p: f32[2,3] = mul(%x, %y)
      %q: f32[2,3] = add(%p, %x)
      return %q, %p
    }"""
    x = np.arange(6, dtype=np.float32)
    yield Sample((x.reshape(2, 3), x.reshape(3, 2).T), {}, (group,))


def _no_samples() -> Iterable[Sample]:
    """Give none: a gradient has no meaning without the graph around it."""
    return ()


OPS: tuple[OpDef, ...] = (
    OpDef(
        name="constant",
        doc="out = value",
        operands=(),
        attrs=ConstantAttrs,
        infer=_constant_infer,
        reference=_constant_reference,
        rule=Lower(_constant_define),
        vjp=NoVjp("it depends on nothing"),
        samples=_constant_samples,
        error=0.0,
    ),
    OpDef(
        name="detach",
        doc="out = x, and no gradient flows back",
        operands=("x",),
        infer=_same_type,
        reference=_detach_reference,
        rule=Lower(_identity_define),
        vjp=NoVjp("it is there to stop the gradient"),
        samples=_identity_samples,
        view=_detach_view,
        error=0.0,
    ),
    OpDef(
        name="contiguous",
        doc="out = x, row-major",
        operands=("x",),
        infer=_same_type,
        reference=_contiguous_reference,
        rule=Lower(_identity_define),
        vjp=Vjp((), _contiguous_vjp),
        samples=_identity_samples,
        view=_contiguous_view,
        error=0.0,
    ),
    OpDef(
        name="clone",
        doc="out = x, in storage of its own",
        operands=("x",),
        infer=_same_type,
        reference=_contiguous_reference,
        rule=Lower(_identity_define),
        vjp=Vjp((), _contiguous_vjp),
        samples=_identity_samples,
        error=0.0,
    ),
    OpDef(
        name="overwrite",
        doc="out = value, which was written over x behind the tape's back: gradients flow to x",
        operands=("x", "value"),
        infer=_overwrite_infer,
        reference=_overwrite_reference,
        rule=Lower(_overwrite_define),
        vjp=Vjp((), _overwrite_vjp),
        samples=_overwrite_samples,
        error=0.0,
    ),
    OpDef(
        name="dim_value",
        doc="out = the size dim, which may be symbolic",
        operands=(),
        attrs=DimValueAttrs,
        infer=_dim_value_infer,
        reference=_dim_value_reference,
        rule=Lower(_dim_value_define),
        vjp=NoVjp("its result is an integer"),
        samples=_dim_value_samples,
        error=0.0,
    ),
    OpDef(
        name="grad",
        doc="grads[k] = sum over j of cotangents[j] . d ys[j] / d wrt[k]",
        operands=("*xs",),
        attrs=GradAttrs,
        results=("*grads",),
        infer=_grad_infer,
        rule=Expand("autograd"),
        vjp=NoVjp("it is expanded before anything is differentiated", zero=False),
        samples=_no_samples,
    ),
    OpDef(
        name="fusion",
        doc="ys = region(xs), computed as one kernel",
        operands=("*xs",),
        results=("*ys",),
        infer=_fusion_infer,
        rule=Region(_fusion_evaluate),
        vjp=NoVjp("groups are formed after differentiation", zero=False),
        samples=_fusion_samples,
    ),
)
