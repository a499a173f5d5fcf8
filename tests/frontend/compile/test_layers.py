"""Every layer compiled gives what it gives eagerly: results, gradients, buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import smelt

from tests.layers import LAYERS, Shape


def results(source: str, shapes: tuple[Shape, ...], training: bool, compiled: bool) -> list[Any]:
    """Return the outputs, all gradients and the buffers after one call and its backward pass."""
    smelt.manual_seed(0)
    layer = eval(source, {"nn": smelt.nn}).train(training)
    rng = np.random.default_rng(3)
    xs = [smelt.tensor(rng.normal(size=s).astype("f4"), requires_grad=True) for s in shapes]
    found = (smelt.compile(layer) if compiled else layer)(*xs)
    outputs = found if isinstance(found, tuple) else (found,)
    for y in outputs:
        if y.requires_grad:
            y.backward(smelt.arange(y.numel()).reshape(y.shape).cos())
    gradients = [x.grad for x in (*xs, *layer.parameters()) if x.grad is not None]
    return [t.detach().numpy() for t in (*outputs, *gradients, *layer.buffers())]


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"{layer[0]}{layer[1]}")
def test_layer(layer: tuple[str, *tuple[Shape, ...]], training: bool) -> None:
    source, *shapes = layer
    eager = results(source, tuple(shapes), training, False)
    compiled = results(source, tuple(shapes), training, True)
    # Sums of a few hundred terms in single precision, added up in another order.
    for mine, theirs in zip(compiled, eager, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
