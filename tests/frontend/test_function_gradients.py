"""Gradients, first and second, of public functions against finite differences in float64."""

from __future__ import annotations

import numpy as np
import pytest
import smelt
from smelt.autograd import gradcheck, gradgradcheck

CASES = {
    "div": (lambda x, y: x / (y * y + 1), [(2, 3), (3,)]),
    "pow": (lambda x, y: (x * x + 0.5) ** y, [(2, 2), (2,)]),
    "hypot": (smelt.hypot, [(3,), (3,)]),
    "lerp": (smelt.lerp, [(2, 2), (2, 2), (2,)]),
    "addcdiv": (lambda x, y: smelt.addcdiv(x, y, y * y + 1, value=2.0), [(3,), (3,)]),
    "logaddexp": (smelt.logaddexp, [(3,), (3,)]),
    "clamp": (lambda x, y: x.clamp(y - 1, y + 1), [(4,), (4,)]),
    "where": (lambda x, y: smelt.where(x > y, x * 2, y * 3), [(4,), (4,)]),
    "sum": (lambda x: x.sum((0, 2), keepdim=True), [(2, 3, 2)]),
    "prod": (lambda x: x.prod(1), [(2, 3)]),
    "mean": (lambda x: x.mean(0), [(3, 2)]),
    "var": (lambda x: x.var(1), [(2, 3)]),
    "std": (lambda x: x.std(0, correction=0), [(3, 2)]),
    "norm": (lambda x: x.norm(3, dim=1), [(2, 3)]),
    "logsumexp": (lambda x: x.logsumexp(1), [(2, 3)]),
    "softmax": (lambda x: x.softmax(0), [(3, 2)]),
    "log_softmax": (lambda x: x.log_softmax(1), [(2, 3)]),
    "amax": (lambda x: x.amax(1), [(2, 3)]),
    "max": (lambda x: x.max(0).values, [(3, 2)]),
    "median": (lambda x: x.median(1).values, [(2, 3)]),
    "cumsum": (lambda x: x.cumsum(1), [(2, 3)]),
    "cumprod": (lambda x: x.cumprod(0), [(3, 2)]),
    "logcumsumexp": (lambda x: x.logcumsumexp(1), [(2, 3)]),
    "sort": (lambda x: x.sort(1, descending=True).values, [(2, 3)]),
    "topk": (lambda x: x.topk(2).values, [(2, 4)]),
    "diagonal": (lambda x: x.diagonal(1), [(3, 3)]),
    "unfold": (lambda x: x.unfold(0, 3, 1) * 2, [(5,)]),
    "as_strided": (lambda x: (x * 1).as_strided((2, 2), (1, 2), 1), [(6,)]),
    "flip": (lambda x: x.flip(0, 1), [(2, 3)]),
    "roll": (lambda x: x.roll(1, 1), [(2, 3)]),
    "tril": (lambda x: x.tril(-1), [(3, 3)]),
    "repeat": (lambda x: x.repeat(2, 2), [(2, 1)]),
    "cat": (lambda x, y: smelt.cat([x, y, x], 1), [(2, 2), (2, 1)]),
    "stack": (lambda x, y: smelt.stack([x, y], -1), [(2,), (2,)]),
    "matmul": (lambda x, y: x @ y, [(2, 1, 2, 3), (3, 3, 2)]),
    "matvec": (lambda x, y: x @ y, [(2, 3), (3,)]),
    "einsum": (lambda x, y: smelt.einsum("bij,bkj->bik", x, y), [(2, 2, 3), (2, 2, 3)]),
    "kron": (smelt.kron, [(2, 1), (2, 2)]),
    "index": (lambda x: x[[0, 1, 0], :, [1, 0, 1]], [(2, 2, 2)]),
    "gather": (lambda x: x.gather(1, smelt.tensor([[0, 0], [1, 0]])), [(2, 2)]),
    "scatter": (lambda x, y: x.scatter(1, smelt.tensor([[1], [0]]), y), [(2, 2), (2, 1)]),
    "scatter_add": (lambda x, y: x.scatter_add(0, smelt.tensor([1, 1]), y), [(2,), (2,)]),
    "index_add": (lambda x, y: x.index_add(0, smelt.tensor([1, 1]), y, alpha=2), [(2, 2), (2, 2)]),
    "index_put": (lambda x, y: x.index_put((smelt.tensor([1, 0]),), y), [(2, 2), (2, 2)]),
    "masked_fill": (lambda x: x.masked_fill(x > 0, 0.5) * x, [(4,)]),
    "assignment": (lambda x, y: _assigned(x, y), [(2, 3), (3,)]),
}


def _assigned(x: smelt.Tensor, y: smelt.Tensor) -> smelt.Tensor:
    z = x * 1
    z[1] = y * y
    z[:, 0] *= x[0, 0]
    return z


def _inputs(shapes: list[tuple[int, ...]]) -> list[smelt.Tensor]:
    rng = np.random.default_rng(3)
    return [smelt.tensor(rng.normal(size=s), requires_grad=True) for s in shapes]


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    function, shapes = CASES[name]
    assert gradcheck(function, _inputs(shapes))


@pytest.mark.parametrize("name", CASES)
def test_second_gradient(name: str) -> None:
    function, shapes = CASES[name]
    assert gradgradcheck(function, _inputs(shapes))
