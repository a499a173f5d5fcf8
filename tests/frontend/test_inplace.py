"""In-place operations: values, dtypes, `out=`, and what the tape says of them."""

from __future__ import annotations

import numpy as np
import pytest
import smelt
from smelt.surface.table import TABLE

UNARY = [
    row.name
    for topic in ("arithmetic", "transcendental")
    for row in TABLE[topic]
    if "i" in row.forms and "I" in row.forms
]


@pytest.mark.parametrize("name", [n for n in UNARY if n not in ("clamp", "clamp_min", "clamp_max")])
def test_twin_is_the_function(name: str) -> None:
    x = smelt.tensor([0.25, 0.5, 0.75])
    want = getattr(smelt, name)(x)
    method, function, out = x.clone(), x.clone(), smelt.empty(3)
    assert getattr(method, name + "_")() is method
    assert getattr(smelt, name + "_")(function) is function
    assert getattr(smelt, name)(x, out=out) is out
    for got in (method, function, out):
        np.testing.assert_array_equal(got.numpy(), want.numpy())


def test_result_must_fit_the_dtype() -> None:
    x = smelt.arange(3)
    with pytest.raises(RuntimeError, match="float32 can't be cast to int64"):
        x.add_(1.5)
    with pytest.raises(RuntimeError, match="can't be cast"):
        x.sqrt_()
    x.add_(1)
    assert x.tolist() == [1, 2, 3]
    half = smelt.ones(2, dtype=smelt.float16)
    half.add_(smelt.ones(2, dtype=smelt.float64))
    assert half.dtype is smelt.float16


def test_result_must_fit_the_shape() -> None:
    x = smelt.zeros(3)
    with pytest.raises(RuntimeError, match=r"shape \[2, 3\].*shape \[3\]"):
        x.add_(smelt.zeros(2, 3))
    x.add_(smelt.ones(1))
    assert x.tolist() == [1, 1, 1]


def test_out_takes_the_shape_of_the_result() -> None:
    out = smelt.empty(0)
    smelt.add(smelt.ones(2, 2), 1, out=out)
    assert out.tolist() == [[2, 2], [2, 2]]
    values, indices = smelt.empty(0), smelt.empty(0, dtype=smelt.int64)
    smelt.sort(smelt.tensor([2.0, 1.0]), out=(values, indices))
    assert values.tolist() == [1, 2] and indices.tolist() == [1, 0]
    with pytest.raises(RuntimeError, match="out="):
        smelt.add(smelt.ones(1, requires_grad=True), 1, out=out)


def test_leaf_that_requires_grad_is_refused() -> None:
    x = smelt.ones(3, requires_grad=True)
    for write in (
        lambda: x.add_(1),
        lambda: x.zero_(),
        lambda: x.__setitem__(0, 1.0),
        lambda: x[0].mul_(2),
        lambda: x.view(3).copy_(smelt.zeros(3)),
    ):
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            write()
    with smelt.no_grad():
        x.add_(1)
        x[0] = 5
    assert x.tolist() == [5, 2, 2] and x.is_leaf and x.requires_grad


def test_backward_refuses_an_overwritten_operand() -> None:
    x = smelt.ones(3, requires_grad=True)
    y = x * 2
    z = (y * y).sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"modified by an inplace.*MulBackward0.*version 1"):
        z.backward()


def test_backward_refuses_an_overwritten_result() -> None:
    x = smelt.ones(3, requires_grad=True)
    y = x.exp()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.sum().backward()


def test_backward_allows_an_overwritten_value_that_nobody_needs() -> None:
    x = smelt.ones(3, requires_grad=True)
    y = x + 1
    z = y + 2
    y.mul_(3)
    (z.sum() + y.sum()).backward()
    assert x.grad.tolist() == [4, 4, 4]


def test_write_through_a_view_changes_the_gradient_of_its_base() -> None:
    x = smelt.ones(2, 3, requires_grad=True)
    w = smelt.tensor(3.0, requires_grad=True)
    base = x * 2
    row = base[0]
    row.mul_(w)
    assert type(base.grad_fn).__name__ == "CopyNode"
    base.sum().backward()
    assert x.grad.tolist() == [[6, 6, 6], [2, 2, 2]]
    assert w.grad.item() == 6


def test_views_made_before_a_write_see_it() -> None:
    w = smelt.ones(2, requires_grad=True)
    base = smelt.zeros(3, 2)
    early = base[1]
    base[1] = w * 5
    assert early.requires_grad
    early.sum().backward()
    assert w.grad.tolist() == [5, 5]


def test_write_of_a_constant_stops_the_gradient() -> None:
    x = smelt.ones(3, requires_grad=True)
    y = x * 2
    y[1] = 7.0
    y.sum().backward()
    assert x.grad.tolist() == [2, 0, 2]


def test_augmented_assignment_writes() -> None:
    x = smelt.arange(4.0)
    alias = x
    x += 1
    x *= 2
    x -= 1
    x /= 2
    x **= 2
    assert alias is x
    np.testing.assert_allclose(x.numpy(), [0.25, 2.25, 6.25, 12.25])


def test_set_data_keeps_the_tensor() -> None:
    x = smelt.ones(2, requires_grad=True)
    x.data = smelt.zeros(3)
    assert x.shape == (3,) and x.requires_grad and x.is_leaf
