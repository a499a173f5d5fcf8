"""Compare what smelt and PyTorch give: values, dtypes, shapes, gradients, error classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import smelt

torch = pytest.importorskip("torch")

BUILTIN = (IndexError, TypeError, ValueError, RuntimeError)


def run(function: Callable[..., Any], module: Any, tensors: Sequence[Any]) -> Any:
    """Return the result, or the exception that a user's mistake raises."""
    try:
        return function(module, *tensors)
    except (IndexError, TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        return error


def numbers(x: Any) -> np.ndarray:
    """Return the elements of a tensor of either library, half types as float64."""
    x = x.detach()
    wide = x.double() if x.dtype.is_floating_point else x
    return wide.numpy()


def expect_same(got: Any, want: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Assert that two results agree."""
    if isinstance(want, (tuple, list)) and not isinstance(want, torch.Size):
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            expect_same(a, b, rtol, atol)
    elif isinstance(want, torch.Tensor):
        assert str(want.dtype).removeprefix("torch.") == got.dtype.torch_name
        assert tuple(got.shape) == tuple(want.shape)
        assert got.requires_grad == want.requires_grad
        np.testing.assert_allclose(numbers(got), numbers(want), rtol, atol)
    else:
        assert got == want


def floats(result: Any) -> list[Any]:
    """Return the tensors of a result that gradients flow through."""
    found = result if isinstance(result, (tuple, list)) else [result]
    kinds = (torch.Tensor, smelt.Tensor)
    return [x for x in found if isinstance(x, kinds) and x.requires_grad]


def pull(module: Any, results: list[Any]) -> None:
    """Run a backward pass with cotangents that differ from place to place."""
    total = 0
    for x in results:
        ramp = module.arange(x.numel()).reshape(x.shape).to(x.dtype)
        total = total + (x * ramp.cos()).sum()
    total.backward()


def compare(
    function: Callable[..., Any], *shapes: tuple[int, ...], dtype: str = "float32", seed: int = 0
) -> None:
    """Assert that `function(module, *tensors)` is the same with both libraries."""
    rng = np.random.default_rng(seed)
    real = dtype.startswith("float")
    arrays = [(rng.normal(size=s) if real else rng.integers(0, 5, s)).astype(dtype) for s in shapes]
    theirs = [torch.tensor(a, requires_grad=real) for a in arrays]
    ours = [smelt.tensor(a, requires_grad=real) for a in arrays]
    want, got = run(function, torch, theirs), run(function, smelt, ours)
    if isinstance(want, Exception):
        assert isinstance(got, Exception), f"PyTorch refuses: {want!r}; smelt gives {got!r}"
        kind = next(k for k in (*BUILTIN, Exception) if isinstance(want, k))
        assert isinstance(got, kind), (want, got)
        return
    assert not isinstance(got, Exception), repr(got)
    expect_same(got, want)
    if real and floats(want):
        pull(torch, floats(want))
        pull(smelt, floats(got))
        for a, b in zip(ours, theirs, strict=True):
            assert (a.grad is None) == (b.grad is None)
            if b.grad is not None:
                expect_same(a.grad, b.grad)
