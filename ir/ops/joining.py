"""Movement of several operands into one: cat, stack; and roll, which joins two parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar, structured
from smelt.ir.dim import Dim
from smelt.ir.errors import ArgumentError, TypeInferenceError
from smelt.ir.op import Decompose, Lower, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import inference, sampling
from smelt.ir.ops.movement import plus, zero
from smelt.ir.scalar import Expr, Read
from smelt.ir.structured import Reader, Stage
from smelt.ir.types import Shape, TensorType

Array = Any


Gradients = tuple[Operand | None, ...]


@dataclass(frozen=True, slots=True)
class DimAttrs:
    """The dimension along which operands are joined."""

    dim: int


@dataclass(frozen=True, slots=True)
class RollAttrs:
    """How far to rotate each of `dims`, towards higher indices."""

    shifts: Shape
    dims: tuple[int, ...]


def _cat_infer(attrs: DimAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    if not types:
        raise TypeInferenceError("cat: takes at least one operand, but none arrived")
    names = tuple(f"xs[{k}]" for k in range(len(types)))
    first, dim = types[0], attrs.dim
    inference.expect_dim("cat", "dim", dim, first.rank)
    inference.expect_same_dtype("cat", names, types)
    total: int | Dim = 0
    for name, found in zip(names, types):
        rest = (*found.shape[:dim], *found.shape[dim + 1 :])
        wanted = (*first.shape[:dim], *first.shape[dim + 1 :])
        if found.rank != first.rank or not inference.same_shape(rest, wanted):
            raise TypeInferenceError(
                f"cat: operands may differ in dimension {dim} alone: xs[0] is {first}, "
                f"{name} is {found}"
            )
        total = found.shape[dim] + total
    return (first.with_shape((*first.shape[:dim], total, *first.shape[dim + 1 :])),)


def _cat_reference(xp: Any, attrs: DimAttrs, *xs: Array) -> Array:
    shape = list(xs[0].shape)
    shape[attrs.dim] = sum(x.shape[attrs.dim] for x in xs)
    return xp.concatenate(xs, axis=attrs.dim, out=xp.empty(tuple(shape), xs[0].dtype))


def _cat_define(attrs: DimAttrs, *types: TensorType) -> Stage:
    dim, dtype = attrs.dim, types[0].dtype
    here = structured.identity_index(types[0].rank)
    at = here[dim]
    readers: list[Reader] = []
    body: Expr | None = None
    start: int | Dim = 0
    for k, found in enumerate(types):
        stop = found.shape[dim] + start
        below = scalar.apply("lt", at, scalar.of_dim(stop)) if k + 1 < len(types) else None
        above = scalar.apply("ge", at, scalar.of_dim(start)) if k else None
        inside = scalar.conjunction(above, below)
        index = (*here[:dim], plus(at, -start), *here[dim + 1 :])
        readers.append(Reader(k, index, inside, None if inside is None else zero(dtype)))
        body = (
            Read(k, dtype)
            if above is None or body is None
            else scalar.select(above, Read(k, dtype), body)
        )
        start = stop
    assert body is not None, "cat has at least one operand"
    shape = (*types[0].shape[:dim], start, *types[0].shape[dim + 1 :])
    return Stage(shape, tuple(readers), (body,))


def _cat_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = xs in a row;  backward each gx = its part of g."""
    dim: int = s.attrs.dim
    shape = s.output_types[0].shape
    grads: list[Operand | None] = []
    start: int | Dim = 0
    for found, wanted in zip(s.input_types, s.needs):
        stop = found.shape[dim] + start
        if wanted:
            starts = tuple(start if d == dim else 0 for d in range(len(shape)))
            stops = tuple(stop if d == dim else n for d, n in enumerate(shape))
            grads.append(r("slice", g, starts=starts, stops=stops, steps=(1,) * len(shape)))
        else:
            grads.append(None)
        start = stop
    return tuple(grads)


def _cat_samples() -> Iterator[Sample]:
    x, y, z = sampling.normal(2, 3), sampling.normal(2, 1, seed=1), sampling.normal(2, 0)
    yield Sample((x, y), {"dim": 1})
    yield Sample((x, z, y, x), {"dim": 1})
    yield Sample((x, sampling.strided(x)), {"dim": 0})
    yield Sample((x,), {"dim": 0})
    yield Sample((z, z), {"dim": 1})
    for dtype in (dtypes.bool_, dtypes.int64, dtypes.float16):
        x = sampling.normal(3, dtype=dtype)
        yield Sample((x, x[:2].copy()), {"dim": 0})


def _stack_infer(attrs: DimAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    if not types:
        raise TypeInferenceError("stack: takes at least one operand, but none arrived")
    names = tuple(f"xs[{k}]" for k in range(len(types)))
    first = types[0]
    inference.expect_dim("stack", "dim", attrs.dim, first.rank + 1)
    inference.expect_same_dtype("stack", names, types)
    inference.expect_same_shape("stack", names, types)
    return (first.with_shape((*first.shape[: attrs.dim], len(types), *first.shape[attrs.dim :])),)


def _stack_reference(xp: Any, attrs: DimAttrs, *xs: Array) -> Array:
    first = xs[0]
    shape = (*first.shape[: attrs.dim], len(xs), *first.shape[attrs.dim :])
    return xp.stack(xs, axis=attrs.dim, out=xp.empty(shape, first.dtype))


def _stack_decompose(r: Rules, attrs: DimAttrs, *xs: Operand) -> Operand:
    return r("cat", *(r.unsqueeze(x, (attrs.dim,)) for x in xs), dim=attrs.dim)


def _stack_samples() -> Iterator[Sample]:
    x, y = sampling.normal(2, 3), sampling.normal(2, 3, seed=1)
    for dim in (0, 1, 2):
        yield Sample((x, sampling.strided(y)), {"dim": dim})
    yield Sample((x,), {"dim": 0})
    yield Sample((np.array(1.0), np.array(2.0)), {"dim": 0})
    yield Sample((x[:0], y[:0]), {"dim": 1})


def _roll_infer(attrs: RollAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    if len(attrs.shifts) != len(attrs.dims):
        raise ArgumentError(f"roll: {len(attrs.shifts)} shifts for {len(attrs.dims)} dims")
    for dim in attrs.dims:
        inference.expect_dim("roll", "dims", dim, types[0].rank)
    return (types[0],)


def _roll_reference(xp: Any, attrs: RollAttrs, x: Array) -> Array:
    rolled = xp.roll(x, attrs.shifts, attrs.dims)
    return rolled.copy(order="C") if rolled is x else xp.asarray(rolled, order="C")


def _roll_decompose(r: Rules, attrs: RollAttrs, x: Operand) -> Operand:
    shape = r.type(x).shape
    steps = (1,) * len(shape)
    moved = False
    for shift, dim in zip(attrs.shifts, attrs.dims):
        extent = shape[dim]
        amount = 0 if extent == 0 else shift % extent
        if amount == 0:
            continue
        split = extent - amount
        starts = tuple(split if d == dim else 0 for d in range(len(shape)))
        stops = tuple(split if d == dim else n for d, n in enumerate(shape))
        tail = r("slice", x, starts=starts, stops=shape, steps=steps)
        front = r("slice", x, starts=(0,) * len(shape), stops=stops, steps=steps)
        x = r("cat", tail, front, dim=dim)
        moved = True
    return x if moved else r("contiguous", x)


def _roll_samples() -> Iterator[Sample]:
    x = sampling.normal(3, 4)
    for shifts, found in (((1,), (0,)), ((-1, 5), (0, 1)), ((0,), (1,)), ((3,), (0,))):
        yield Sample((x,), {"shifts": shifts, "dims": found})
    yield Sample((sampling.strided(x),), {"shifts": (2,), "dims": (1,)})
    yield Sample((x[:0],), {"shifts": (2,), "dims": (0,)})


OPS: tuple[OpDef, ...] = (
    OpDef(
        "cat",
        "xs one after another along dim",
        ("*xs",),
        infer=_cat_infer,
        rule=Lower(_cat_define),
        vjp=Vjp((), _cat_vjp),
        samples=_cat_samples,
        reference=_cat_reference,
        attrs=DimAttrs,
    ),
    OpDef(
        "stack",
        "xs side by side along a new dim",
        ("*xs",),
        infer=_stack_infer,
        rule=Decompose(_stack_decompose),
        vjp=None,
        samples=_stack_samples,
        reference=_stack_reference,
        attrs=DimAttrs,
    ),
    OpDef(
        "roll",
        "out[i] = x[(i - shift) mod n]",
        ("x",),
        infer=_roll_infer,
        rule=Decompose(_roll_decompose),
        vjp=None,
        samples=_roll_samples,
        reference=_roll_reference,
        attrs=RollAttrs,
    ),
)
