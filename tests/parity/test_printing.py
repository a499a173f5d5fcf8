"""The printed form of tensors, letter for letter."""

from __future__ import annotations

import numpy as np
import pytest
import smelt

torch = pytest.importorskip("torch")

SHAPES = [(), (1,), (3,), (2, 3), (0,), (2, 0), (2, 3, 4), (30,), (1001,), (40, 40), (12, 12, 12)]
SPECIAL = [[1.0, 2.0, np.inf, -np.inf, np.nan], [np.nan], [1.5, np.nan], [0.0, -0.0], [1e-3, 1.0]]
SPECIAL += [[1e10, 1.0], [100000.0, 1.5], [1e-5], [123456789.0]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "bool", "float16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(shape: tuple[int, ...], dtype: str) -> None:
    for scale in (1, 1e-5, 1e4, 0):
        values = np.random.default_rng(0).normal(size=shape) * scale
        if dtype in ("int64", "int32", "bool"):
            values = np.round(values * 3)
        theirs = torch.tensor(values).to(getattr(torch, dtype))
        assert repr(smelt.tensor(theirs.numpy())) == repr(theirs)


@pytest.mark.parametrize("values", SPECIAL, ids=str)
def test_special_values(values: list[float]) -> None:
    assert repr(smelt.tensor(values)) == repr(torch.tensor(values))


def test_gradients() -> None:
    for m in (smelt, torch):
        x = m.ones(2, requires_grad=True)
        assert repr(x) == "tensor([1., 1.], requires_grad=True)"
        assert repr((x * 2).sum()) == "tensor(4., grad_fn=<SumBackward0>)"


def test_options() -> None:
    values = np.random.default_rng(0).normal(size=(20, 20))
    for options in ({"precision": 2}, {"threshold": 10, "edgeitems": 2}, {"linewidth": 40},
                    {"sci_mode": True}, {"profile": "short"}):  # fmt: skip
        try:
            torch.set_printoptions(**options)
            smelt.set_printoptions(**options)
            assert repr(smelt.tensor(values)) == repr(torch.tensor(values))
        finally:
            torch.set_printoptions(profile="default")
            smelt.set_printoptions(profile="default")
