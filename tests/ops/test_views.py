"""What `OpDef.view` says of strides, against NumPy: a view of the same storage or a copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from smelt.ir import registry
from smelt.ir.evaluate import evaluate
from smelt.ir.layout import Layout
from smelt.ir.op import OpDef

from tests.ops.comparison import attributes, describe

Array = np.ndarray[Any, Any]

VIEWS = [op for op in sorted(registry.OPS.values(), key=lambda o: o.name) if op.view is not None]


def layout_of(view: Array, storage: Array) -> Layout:
    start = view.__array_interface__["data"][0] - storage.__array_interface__["data"][0]
    strides = tuple(s // view.itemsize for s in view.strides)
    return Layout(start // view.itemsize, view.shape, strides)


def seen_through(layout: Layout, storage: Array) -> Array:
    strides = tuple(s * storage.itemsize for s in layout.strides)
    start = storage[layout.offset :] if layout.size else storage[:0]
    return np.lib.stride_tricks.as_strided(start, layout.sizes, strides)


def in_storage(array: Array) -> tuple[Array, Array]:
    """Return storage with gaps that holds a copy of `array`, and the view of it there."""
    if array.ndim == 0:
        storage = np.zeros(3, array.dtype)
        view = storage[1:2].reshape(())
    else:
        sizes = [2 * n + 1 for n in array.shape]
        storage = np.zeros(int(np.prod(sizes)), array.dtype)
        view = storage.reshape(sizes)[tuple(slice(1, None, 2) for _ in sizes)]
    view[...] = array
    return storage, view


@pytest.mark.parametrize("op", VIEWS, ids=[op.name for op in VIEWS])
@pytest.mark.parametrize("apart", [False, True], ids=["row-major", "apart"])
def test_layout_shows_the_elements_of_the_result(op: OpDef, apart: bool) -> None:
    assert op.view is not None
    for sample in op.samples():
        (array,) = sample.operands
        if apart:
            storage, operand = in_storage(array)
        else:
            storage = np.ascontiguousarray(array).reshape(-1)
            operand = storage.reshape(array.shape)
        attrs = attributes(op, sample)
        (expected,) = evaluate(op, attrs, (operand,))
        found = op.view(attrs, layout_of(operand, storage))
        where = describe(op, sample)
        if found is None:
            assert not np.shares_memory(expected, storage), where
            continue
        assert found.sizes == expected.shape, where
        assert 0 <= found.offset <= storage.size - found.span, where
        assert np.array_equal(seen_through(found, storage), expected, equal_nan=True), where
        if op.name == "reshape" and expected.size:
            assert np.shares_memory(expected, storage), f"{where}: NumPy copies"


@pytest.mark.parametrize("shape", [(4, 6), (2, 3, 4), (24,), (2, 1, 12), (3, 8), (2, 2, 2, 3)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2), (0, 2, 1)])
def test_reshape_is_a_view_exactly_where_numpy_says(
    shape: tuple[int, ...], order: tuple[int, ...]
) -> None:
    op = registry.OPS["reshape"]
    assert op.view is not None
    storage = np.arange(24.0)
    operand = storage.reshape(2, 3, 4).transpose(order)
    found = op.view(op.attrs(shape=shape), layout_of(operand, storage))
    expected = operand.reshape(shape)
    assert (found is not None) == np.shares_memory(expected, storage)
    if found is not None:
        assert np.array_equal(seen_through(found, storage), expected)
