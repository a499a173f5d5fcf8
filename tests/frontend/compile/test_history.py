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


@pytest.mark.parametrize(
    "function",
    [
        under_no_grad, part_under_no_grad, through_detach, through_data, data_of_a_leaf,
        data_of_a_leaf_is_written, copy_under_no_grad, detached_before_a_write,
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
