"""Random programs of views and in-place writes: values and gradients as PyTorch's."""

from __future__ import annotations

import random

import numpy as np
import pytest
import smelt

torch = pytest.importorskip("torch")

VIEWS = [
    lambda m, x: x[0] if x.dim() else x,
    lambda m, x: x[..., ::2] if x.dim() else x,
    lambda m, x: x[..., 1:] if x.dim() and x.shape[-1] > 1 else x,
    lambda m, x: x.transpose(0, -1) if x.dim() else x,
    lambda m, x: x.unsqueeze(0),
    lambda m, x: x.squeeze(),
    lambda m, x: x.view(-1) if x.is_contiguous() else x,
    lambda m, x: x.diagonal() if x.dim() == 2 else x,
    lambda m, x: x.expand(*x.shape),
    lambda m, x: x.detach().clone() + x,
    lambda m, x: x.unfold(0, 1, 1) if x.dim() and x.shape[0] else x,
]
WRITES = [
    lambda m, x, w: x.mul_(2),
    lambda m, x, w: x.add_(w),
    lambda m, x, w: x.mul_(w),
    lambda m, x, w: x.sigmoid_(),
    lambda m, x, w: x.copy_(w * 2),
    lambda m, x, w: x.zero_(),
    lambda m, x, w: x.exp_() if x.dim() < 3 else x.neg_(),
    lambda m, x, w: x.clamp_(-1, 1),
    lambda m, x, w: x.fill_(w),
    lambda m, x, w: x.pow_(2),
    lambda m, x, w: x.__setitem__(0, w) if x.dim() else x.add_(1),
    lambda m, x, w: x.__setitem__(x > 0.5, 0.25) if x.dim() else x.add_(1),
    lambda m, x, w: x.__setitem__([0, -1], w) if x.dim() else x.add_(1),
    lambda m, x, w: x.masked_fill_(x > 1, 0.5),
]


def program(m, seed: int, start: np.ndarray, weight: float):
    """Run one program with module `m`; returns what it computed or the class of its error."""
    rng = random.Random(seed)
    leaf = m.tensor(start).requires_grad_()
    w = m.tensor(weight, dtype=leaf.dtype).requires_grad_()
    base = leaf * 1.5 if rng.random() < 0.7 else m.zeros(leaf.shape, dtype=leaf.dtype) + 0.5
    pool = [base]
    results = []
    for _ in range(rng.randint(2, 8)):
        x = rng.choice(pool)
        act = rng.random()
        if act < 0.5:
            pool.append(rng.choice(VIEWS)(m, x))
        elif act < 0.9:
            rng.choice(WRITES)(m, x, w)
        else:
            results.append((rng.choice(pool) * x.sum()).sum())
    total = sum((x * x).sum() for x in pool) + sum(results)
    total.backward()
    return (
        [x.detach().numpy() for x in pool],
        [x.requires_grad for x in pool],
        [x._version for x in pool],
        [None if t.grad is None else t.grad.numpy() for t in (leaf, w)],
    )


def outcome(m, seed: int, start: np.ndarray):
    try:
        return program(m, seed, start, 0.7)
    except (RuntimeError, IndexError) as error:
        if "a leaf Variable" in str(error):
            return "leaf"
        return "modified" if "modified by an inplace" in str(error) else "refused"


@pytest.mark.parametrize("seed", range(200))
def test_program(seed: int) -> None:
    start = np.random.default_rng(seed).normal(size=(3, 3)).astype(np.float64)
    want, got = outcome(torch, seed, start), outcome(smelt, seed, start)
    if isinstance(want, str) or isinstance(got, str):
        # smelt keeps copies in some places where PyTorch has to refuse, and knows that a view made
        # before its base was written with a gradient is no leaf.
        lenient = want == "modified" and not isinstance(got, str)
        assert got == want or lenient or want == "leaf", (got, want)
        return
    for a, b in zip(got[0], want[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    assert got[1] == want[1]
    for a, b in zip(got[3], want[3], strict=True):
        # What was overwritten gets zeros from PyTorch, nothing from smelt.
        zeros = np.zeros(())
        np.testing.assert_allclose(zeros if a is None else a, zeros if b is None else b, rtol=1e-9)
