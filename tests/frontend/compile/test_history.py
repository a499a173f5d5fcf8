"""Writes that the tape does not see, and tensors that share memory but no history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import smelt


def under_no_grad(x: Any, w: Any) -> Any:
    y = x * 2
    with smelt.no_grad():
        y.mul_(3)
    return y * y


def part_under_no_grad(x: Any, w: Any) -> Any:
    y = x * 2
    with smelt.no_grad():
        y[0] = 5.0
        y[1:].mul_(2)
    return y.sum(), y


def through_detach(x: Any, w: Any) -> Any:
    y = x * 2
    y.detach().add_(1)
    return y * y


def through_data(x: Any, w: Any) -> Any:
    y = x * 2
    y.data.add_(w.detach())
    return y * w


def data_of_a_leaf(x: Any, w: Any) -> Any:
    return x * 1 + x.data * w


def data_of_a_leaf_is_written(x: Any, w: Any) -> Any:
    x.data.copy_(w.detach())
    return x * x


def copy_under_no_grad(x: Any, w: Any) -> Any:
    buffer = smelt.zeros(4)
    with smelt.no_grad():
        buffer.copy_(x)
    return buffer * w + x


def detached_before_a_write(x: Any, w: Any) -> Any:
    y = x * 2
    d = y.detach()
    y.mul_(w)
    return d * w + y, d


def detached_gets_a_history(x: Any, w: Any) -> Any:
    y = x * 2
    d = y.detach()
    d.mul_(w)
    return d, y


def views_of_a_buffer(x: Any, w: Any) -> Any:
    y = smelt.zeros(4)
    v, d = y[1:], y.detach()
    y.add_(w)
    return v * 1, d, y


def returned_beside_its_detached(x: Any, w: Any) -> Any:
    y = x * 2
    return y.detach(), y


def leaf_in_parts(x: Any, w: Any) -> Any:
    with smelt.no_grad():
        x[0].zero_()
        x.data[1:].add_(2)
    return x * w


def constant_cuts(x: Any, w: Any) -> Any:
    y, z = x * 2, w * 3
    y.zero_()
    z[1] = 0.25
    return y + z


@pytest.mark.parametrize(
    "function",
    [
        constant_cuts, under_no_grad, part_under_no_grad, through_detach, through_data,
        data_of_a_leaf, data_of_a_leaf_is_written, copy_under_no_grad, detached_before_a_write,
        detached_gets_a_history, views_of_a_buffer, returned_beside_its_detached, leaf_in_parts,
    ],
)  # fmt: skip
def test_gradients_are_eagers(function: Callable[..., Any]) -> None:
    runs = []
    for called in (function, smelt.compile(function)):
        x = smelt.tensor([-1.0, 0.5, 1.0, 3.0]).requires_grad_()
        w = smelt.tensor([2.0, 3.0, 4.0, 5.0]).requires_grad_()
        found = called(x, w)
        found = found if isinstance(found, tuple) else (found,)
        total = sum([t.sum() for t in found if t.requires_grad])
        total.backward()
        runs.append((found, [x.grad, w.grad], x))
    (expected, expected_grads, x), (found, grads, y) = runs
    np.testing.assert_allclose(y.detach().numpy(), x.detach().numpy())
    for a, b in zip(expected, found, strict=True):
        assert a.requires_grad == b.requires_grad
        np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), rtol=1e-6)
    for a, b in zip(expected_grads, grads, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-6)


def test_a_leaf_that_no_gradient_reaches_has_none() -> None:
    x, w = smelt.ones(3).requires_grad_(), smelt.ones(3).requires_grad_()
    first, _ = smelt.compile(lambda x, w: (x * 2, w * w))(x, w)
    first.sum().backward()
    assert w.grad is None
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 2.0, 2.0])


def test_a_gradient_that_is_linear_has_no_gradient() -> None:
    def f(x: Any) -> Any:
        return smelt.autograd.grad((x * 2).sum(), [x], create_graph=True)[0]

    def g(x: Any) -> Any:
        return smelt.autograd.grad((x * x).sum(), [x], create_graph=True)[0]

    x = smelt.ones(3).requires_grad_()
    for function in (f, g):
        assert smelt.compile(function)(x).requires_grad == function(x).requires_grad


def test_views_of_leaves_are_not_written() -> None:
    x = smelt.ones(3).requires_grad_()
    with pytest.raises(RuntimeError, match="a view of a leaf Variable"):
        smelt.compile(lambda x: x[0].add_(1))(x)


def test_memory_that_is_read_only_is_not_written() -> None:
    array = np.ones(3, np.float32)
    array.flags.writeable = False
    x = smelt.from_numpy(array)
    for function in (lambda x: x.add_(1), smelt.compile(lambda x: x.add_(1))):
        with pytest.raises(ValueError, match="read-only"):
            function(x)


def test_a_view_made_under_no_grad_does_not_take_leafness() -> None:
    def f(x: Any) -> Any:
        with smelt.no_grad():
            view = x.reshape(-1)
        return view.mul_(2)

    for function in (f, smelt.compile(f)):
        x = smelt.ones(3).requires_grad_()
        with pytest.raises(RuntimeError, match="a view of a leaf Variable"):
            function(x)
        assert x.is_leaf


def test_a_view_met_after_the_write_to_its_base_is_put_on_the_tape() -> None:
    def f(base: Any, view: Any, w: Any) -> Any:
        base.copy_(w)
        return view.cos()

    gradients = []
    for run in (f, smelt.compile(f)):
        base, w = smelt.zeros(3, 4), smelt.ones(3, 4, requires_grad=True)
        view = base[:2]
        result = run(base, view, w)
        assert view.requires_grad
        (result.sum() + view.sum()).backward()
        gradients.append(w.grad.numpy())
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-6)


def test_a_constant_gradient_requires_none_after_another_backward() -> None:
    def f(x: Any) -> Any:
        y = x.amax(0, keepdim=True)
        y.sum().backward(retain_graph=True)
        return smelt.autograd.grad(y.sum(), x, create_graph=True)[0]

    for run in (f, smelt.compile(f)):
        x = smelt.arange(6.0).reshape(2, 3).requires_grad_()
        assert not run(x).requires_grad


def test_gradients_that_are_taped_are_row_major() -> None:
    x = smelt.ones(4, requires_grad=True)
    (gradient,) = smelt.autograd.grad(x.sum(), x, create_graph=True)
    assert gradient.stride() == (1,)
