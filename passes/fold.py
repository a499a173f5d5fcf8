"""Evaluate nodes whose operands are known, used by canonicalisation. Graph IR to graph IR.

A node over `full` values gives a `full`, however large; other nodes are evaluated by their
references where operands and results are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from smelt.ir import dim as dims
from smelt.ir.builder import GraphBuilder
from smelt.ir.evaluate import evaluate
from smelt.ir.graph import Node, Value
from smelt.ir.op import Decompose, Lower
from smelt.ir.scalar import Var, as_python, walk
from smelt.ir.structured import Stage, identity_index, is_movement
from smelt.ir.types import TensorType
from smelt.passes.algebra import uniform
from smelt.passes.effects import can_raise


def fold(builder: GraphBuilder, node: Node, limit: int) -> Sequence[Value] | None:
    """Return what stands for the results of a node that is known already, or None.

    Args:
        builder: the graph so far.
        node: a node over values of it.
        limit: number of elements up to which arrays are computed.
    """
    match node.op.name:
        case "full":
            return None
        case "constant":
            found = _filled(node.attrs.value.array)
            return None if found is None else (builder.full(found, node.outputs[0].type),)
        case "dim_value":
            if not dims.is_static(node.attrs.dim):
                return None
            return (builder.full(node.attrs.dim, node.outputs[0].type),)
        case _:
            if not node.inputs or not all(_is_known(builder, v) for v in node.inputs):
                return None
            return _fold_uniform(builder, node) or _fold_small(builder, node, limit)


def _is_known(builder: GraphBuilder, value: Value) -> bool:
    node = builder.producer(value)
    known = node is not None and node.op.name in ("full", "constant")
    return known and not value.type.dtype.is_complex


def _fold_uniform(builder: GraphBuilder, node: Node) -> Sequence[Value] | None:
    """op(full(a), full(b)) -> full(op(a, b)) for an op that treats all elements alike."""
    numbers = [uniform(builder, v) for v in node.inputs]
    if not isinstance(node.op.rule, Lower) or any(n is None for n in numbers):
        return None
    stage = node.op.rule.define(node.attrs, *node.input_types)
    if not isinstance(stage, Stage) or stage.checks:
        return None
    if is_movement(stage) and stage.readers[0].inside is None:
        number = numbers[0]
        assert number is not None, "checked above"
        return (builder.full(number, node.outputs[0].type),)
    if not _is_pointwise(stage):
        return None
    points = [
        np.array(n).astype(v.type.dtype.numpy) for n, v in zip(numbers, node.inputs, strict=True)
    ]
    results = _evaluated(node, points)
    if any(result != result for result in results):
        return None  # which NaN it is matters to `bitcast`, and a number cannot say it
    return tuple(
        builder.full(as_python(result, v.type.dtype), v.type)
        for result, v in zip(results, node.outputs, strict=True)
    )


def _is_pointwise(stage: Stage) -> bool:
    """Tell whether the stage applies one scalar function at every point."""
    rank = len(stage.domain)
    return (
        not stage.reduce_axes
        and all(r.inside is None and r.index == identity_index(rank) for r in stage.readers)
        and not any(isinstance(e, Var) for body in stage.body for e in walk(body))
    )


def _fold_small(builder: GraphBuilder, node: Node, limit: int) -> Sequence[Value] | None:
    """op(constants) -> constants."""
    types = [*node.input_types, *(v.type for v in node.outputs)]
    if not isinstance(node.op.rule, Lower | Decompose) or not all(
        _is_small(t, limit) for t in types
    ):
        return None
    arrays = [_known(builder, v) for v in node.inputs]
    operands = [a for a in arrays if a is not None]
    if len(operands) != len(arrays) or can_raise(node):
        return None
    results: list[Value] = []
    for array, value in zip(_evaluated(node, operands), node.outputs, strict=True):
        found = _filled(array)
        whole = builder.constant(array) if found is None else builder.full(found, value.type)
        results.append(whole)
    return results


def _is_small(type: TensorType, limit: int) -> bool:
    size = type.size
    return type.is_static and isinstance(size, int) and size <= limit


def _known(builder: GraphBuilder, value: Value) -> np.ndarray[Any, Any] | None:
    node = builder.producer(value)
    if node is not None and node.op.name == "constant":
        return node.attrs.value.array
    number = uniform(builder, value)
    if number is None:
        return None
    return np.full(value.type.sizes, np.array(number).astype(value.type.dtype.numpy))


def _evaluated(node: Node, operands: Sequence[np.ndarray[Any, Any]]) -> tuple[Any, ...]:
    with np.errstate(all="ignore"):
        return evaluate(node.op, node.attrs, tuple(operands))


def _filled(array: np.ndarray[Any, Any]) -> bool | int | float | None:
    """Return the number that every element of `array` is, bit for bit; None if there is none."""
    dtype = array.dtype
    if array.size == 0:
        return False if dtype == np.bool_ else 0
    if dtype.kind == "c":
        return None
    flat = np.ascontiguousarray(array).reshape(-1)
    first = flat[:1].tobytes()
    if flat.tobytes() != first * flat.size:
        return None
    number = flat[0]
    if number != number:  # a NaN with bits of its own cannot be written as a number
        return None
    if dtype == np.bool_:
        return bool(number)
    return int(number) if dtype.kind in "iu" else float(number)
