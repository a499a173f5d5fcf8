"""Hold an op to its twin in PyTorch, on the op's own samples: the same values and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from smelt.ir.builder import GraphBuilder
from smelt.ir.evaluate import evaluate
from smelt.ir.interpreter import run_graph
from smelt.ir.op import OpDef, Sample

from tests.graphs import type_of

Array = np.ndarray[Any, Any]
Twin = Callable[..., Any]

TOLERANCES: Mapping[str, float] = {
    "float16": 4e-3, "bfloat16": 2e-2, "float32": 2e-5, "float64": 1e-10,
}  # fmt: skip


def to_torch(array: Array) -> Any:
    """Return a row-major tensor of the same elements."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
    return torch.from_numpy(np.array(array, order="C"))


def to_numpy(tensor: Any) -> Array:
    """Return the elements of a tensor; bfloat16 as float32."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def describe(op: OpDef, sample: Sample) -> str:
    """Return a sample in words."""
    return f"{op.name} {[str(type_of(a)) for a in sample.operands]} {dict(sample.attrs)}"


def as_tuple(results: Any) -> tuple[Any, ...]:
    """Return what a twin gives as a tuple."""
    return tuple(results) if isinstance(results, (tuple, list)) else (results,)


def is_float(array: Array) -> bool:
    """Tell whether gradients flow through an array."""
    return type_of(array).dtype.is_floating_point


def compare(found: Array, expected: Any, where: str) -> None:
    """Raise unless an array and a tensor agree: shape, dtype, NaN, infinities, and closely."""
    theirs = to_numpy(expected)
    assert found.shape == theirs.shape, f"{where}: {found.shape}, PyTorch {theirs.shape}"
    name = str(expected.dtype).removeprefix("torch.")
    assert type_of(found).dtype.torch_name == name, f"{where}: {type_of(found)}, PyTorch {name}"
    if not is_float(found):
        np.testing.assert_array_equal(found, theirs, err_msg=where)
        return
    tolerance = TOLERANCES[name]
    np.testing.assert_allclose(
        found.astype(np.float64),
        theirs.astype(np.float64),
        rtol=tolerance,
        atol=tolerance,
        err_msg=where,
    )


def check_values(op: OpDef, sample: Sample, twin: Twin) -> None:
    """Compare the results of a sample."""
    found = evaluate(op, op.attrs(**sample.attrs), sample.operands)
    expected = as_tuple(twin(dict(sample.attrs), *map(to_torch, sample.operands)))
    for mine, theirs in zip(found, expected, strict=True):
        compare(mine, theirs, describe(op, sample))


def check_gradients(op: OpDef, sample: Sample, twin: Twin, held: Sequence[int] = ()) -> None:
    """Compare the gradients by floating-point operands, at kinks and odd values too.

    Args:
        op: the op.
        sample: one of its samples.
        twin: what PyTorch has for it.
        held: numbers of operands by which PyTorch does not differentiate.
    """
    mine = evaluate(op, op.attrs(**sample.attrs), sample.operands)
    draw = np.random.default_rng(7)
    seeds = [np.asarray(draw.normal(size=y.shape)).astype(y.dtype) for y in mine if is_float(y)]
    tensors = [to_torch(a) for a in sample.operands]
    floating = [k for k, t in enumerate(tensors) if t.is_floating_point()]
    wrt = [k for k in floating if k not in held]
    xs = [tensors[k].requires_grad_() for k in wrt]
    if not xs or not seeds:
        return
    ys = [y for y in as_tuple(twin(dict(sample.attrs), *tensors)) if y.is_floating_point()]
    expected = torch.autograd.grad(ys, xs, [to_torch(s) for s in seeds], allow_unused=True)
    found = dict(zip(floating, _gradients(op, sample, seeds), strict=True))
    for k, x, theirs in zip(wrt, xs, expected, strict=True):
        theirs = torch.zeros_like(x) if theirs is None else theirs
        compare(found[k], theirs, f"{describe(op, sample)}: gradient by operand {k}")


def _gradients(op: OpDef, sample: Sample, seeds: list[Array]) -> tuple[Array, ...]:
    builder = GraphBuilder(op.name)
    inputs = [builder.input(type_of(a)) for a in sample.operands]
    results = builder.node(op, inputs, op.attrs(**sample.attrs))
    ys = [y for y in results if y.type.dtype.is_floating_point]
    xs = [x for x in inputs if x.type.dtype.is_floating_point]
    cotangents = [builder.input(y.type) for y in ys]
    grads = builder("grad", *ys, *cotangents, *xs, outputs=len(ys))
    return run_graph(builder.finish(grads), [*sample.operands, *seeds])
