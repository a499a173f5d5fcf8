"""Every public function gives compiled what it gives eagerly: values, views, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import smelt
from smelt.ir.errors import TraceError

from tests.expressions import EXPRESSIONS, REDUCTIONS, UNARY

ALL = [*EXPRESSIONS, *(f"m.{n}(x)" for n in UNARY), *(f"m.{n}(x, 1)" for n in REDUCTIONS)]
# The shape of the result, or a branch of Python, depends on data.
READ = ("nonzero", "argwhere", "masked_select", "equal", "allclose")


def tensors(found: Any) -> list[Any]:
    if isinstance(found, (tuple, list)) and not isinstance(found, smelt.Size):
        return [y for x in found for y in tensors(x)]
    return [found]


def outcome(function: Any, x: smelt.Tensor) -> Any:
    try:
        return tensors(function(x))
    except TraceError:
        raise
    except (IndexError, TypeError, ValueError, RuntimeError) as error:
        return type(error)


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("expression", [e for e in ALL if not any(r in e for r in READ)])
def test_expression(expression: str) -> None:
    start = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)

    def evaluate(x: smelt.Tensor) -> Any:
        return eval(expression, {"m": smelt, "x": x})

    def differentiate(x: smelt.Tensor) -> None:
        total: Any = 0
        for y in tensors(evaluate(x)):
            if isinstance(y, smelt.Tensor) and y.requires_grad:
                total = total + (y * smelt.arange(y.numel()).reshape(y.shape).cos()).sum()
        if isinstance(total, smelt.Tensor):
            total.backward()

    eager, compiled = smelt.tensor(start), smelt.tensor(start)
    want, got = outcome(evaluate, eager), outcome(smelt.compile(evaluate), compiled)
    if isinstance(want, type):
        assert got is want
        return
    for a, b in zip(got, want, strict=True):
        if not isinstance(b, smelt.Tensor):
            assert a == b
            continue
        assert (a.dtype, a.shape, a.stride()) == (b.dtype, b.shape, b.stride())
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)
        shared = b.untyped_storage() is eager.untyped_storage()
        assert (a.untyped_storage() is compiled.untyped_storage()) == shared
    eager, compiled = (smelt.tensor(start, requires_grad=True) for _ in range(2))
    differentiate(eager)
    smelt.compile(differentiate)(compiled)
    assert (compiled.grad is None) == (eager.grad is None)
    if eager.grad is not None:
        np.testing.assert_allclose(compiled.grad.numpy(), eager.grad.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x * 2) // 2,
        lambda x: x + 1 > x,
        lambda x: -x > 0,
        lambda x: (x << 1) >> 1,
        lambda x: (x & (2**63 - 1)).to(smelt.float64),
        lambda x: smelt.maximum(x + 1, x),
        lambda x: (smelt.arange(6) + 2**62) * 2 // 2 + x * 0,
        lambda x: (smelt.arange(6) + (2**63 - 1) > smelt.arange(6)) & (x == x),
    ],
)
def test_integers_wrap_as_they_do_eagerly(function: Any) -> None:
    x = smelt.tensor([2**63 - 1, 2**62, -(2**63), 5, -3, 0])
    np.testing.assert_array_equal(smelt.compile(function)(x).numpy(), function(x).numpy())
