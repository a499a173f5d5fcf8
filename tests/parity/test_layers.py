"""Layers with PyTorch's weights: the same printed form, keys, results, gradients and buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import smelt

torch = pytest.importorskip("torch")

from tests.layers import LAYERS, Shape  # noqa: E402
from tests.parity.comparing import expect_same, floats, pull  # noqa: E402

QUIET = pytest.mark.filterwarnings("ignore")


def made(source: str) -> tuple[Any, Any]:
    """Return PyTorch's module and ours, with the same weights."""
    torch.manual_seed(0)
    theirs, ours = eval(source, {"nn": torch.nn}), eval(source, {"nn": smelt.nn})
    state = {k: smelt.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()}
    ours.load_state_dict(state)
    return theirs, ours


def same_state(ours: Any, theirs: Any) -> None:
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        expect_same(ours.state_dict()[name], value)


@QUIET
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"{layer[0]}{layer[1]}")
def test_layer(layer: tuple[str, *tuple[Shape, ...]], training: bool) -> None:
    source, *shapes = layer
    theirs, ours = made(source)
    assert repr(ours) == repr(theirs)
    theirs.train(training)
    ours.train(training)
    rng = np.random.default_rng(3)
    for _ in range(2):  # running statistics are read and written
        arrays = [rng.normal(size=s).astype(np.float32) for s in shapes]
        xs = [torch.tensor(a, requires_grad=True) for a in arrays]
        zs = [smelt.tensor(a, requires_grad=True) for a in arrays]
        expected, found = theirs(*xs), ours(*zs)
        expect_same(found, expected)
        same_state(ours, theirs)
        pull(torch, floats(expected))
        pull(smelt, floats(found))
    for z, x in zip(zs, xs, strict=True):
        expect_same(z.grad, x.grad)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        expect_same(mine.grad, other.grad)


# Losses of targets that are 1 or -1.
SIGNED = [
    ("nn.SoftMarginLoss()", (3, 4)), ("nn.HingeEmbeddingLoss(0.3, reduction='sum')", (3, 4)),
    ("nn.CosineEmbeddingLoss(0.1)", (5, 3), (5, 3)), ("nn.MarginRankingLoss()", (5,), (5,)),
]  # fmt: skip


@QUIET
@pytest.mark.parametrize("layer", SIGNED, ids=str)
def test_loss_of_signs(layer: tuple[str, *tuple[Shape, ...]]) -> None:
    source, *shapes = layer
    theirs, ours = made(source)
    assert repr(ours) == repr(theirs)
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=s).astype(np.float32) for s in shapes]
    signs = np.array([[1, -1, 1, 1], [-1, 1, -1, 1], [1, 1, -1, -1]], np.float32)
    signs = signs if len(shapes) == 1 else np.array([1, -1, 1, -1, 1], np.float32)
    xs = [torch.tensor(a, requires_grad=True) for a in arrays]
    zs = [smelt.tensor(a, requires_grad=True) for a in arrays]
    expected, found = theirs(*xs, torch.tensor(signs)), ours(*zs, smelt.tensor(signs))
    expect_same(found, expected)
    expected.backward()
    found.backward()
    for z, x in zip(zs, xs, strict=True):
        expect_same(z.grad, x.grad)


CLASSES = [
    "nn.CrossEntropyLoss()", "nn.CrossEntropyLoss(ignore_index=1, reduction='sum')",
    "nn.NLLLoss()", "nn.CrossEntropyLoss(label_smoothing=0.2, reduction='none')",
]  # fmt: skip


@QUIET
@pytest.mark.parametrize("shape", [(3, 4), (4,), (2, 4, 5)], ids=str)
@pytest.mark.parametrize("source", CLASSES)
def test_loss_of_classes(source: str, shape: Shape) -> None:
    theirs, ours = made(source)
    assert repr(ours) == repr(theirs)
    rng = np.random.default_rng(3)
    values = rng.normal(size=shape).astype(np.float32)
    classes = rng.integers(0, 4, shape[:1] + shape[2:] if len(shape) > 1 else ())
    x, z = torch.tensor(values, requires_grad=True), smelt.tensor(values, requires_grad=True)
    expected, found = theirs(x, torch.tensor(classes)), ours(z, smelt.tensor(classes))
    expect_same(found, expected)
    pull(torch, [expected])
    pull(smelt, [found])
    expect_same(z.grad, x.grad)


@pytest.mark.parametrize("padding", [None, 2])
def test_embedding(padding: int | None) -> None:
    theirs, ours = made(f"nn.Embedding(5, 3, padding_idx={padding})")
    assert repr(ours) == repr(theirs)
    rows = np.array([[0, 2, 2], [4, 1, 0]])
    expected, found = theirs(torch.tensor(rows)), ours(smelt.tensor(rows))
    expect_same(found, expected)
    pull(torch, [expected])
    pull(smelt, [found])
    expect_same(ours.weight.grad, theirs.weight.grad)


BAD = [
    ("nn.Linear(4, 3)", (2, 5)), ("nn.Conv2d(2, 4, 3)", (1, 3, 5, 5)),
    ("nn.Conv2d(2, 4, 3)", (1, 2, 2, 2)), ("nn.Conv2d(2, 4, 3)", (2, 2)),
    ("nn.Conv2d(3, 4, 3, groups=2)", (1, 3, 5, 5)), ("nn.BatchNorm2d(3)", (2, 4, 2, 2)),
    ("nn.BatchNorm2d(3)", (2, 3)), ("nn.BatchNorm1d(3)", (1, 3)), ("nn.LayerNorm(4)", (2, 3)),
    ("nn.GroupNorm(3, 4)", (2, 4)), ("nn.MaxPool2d(3)", (1, 2, 2)), ("nn.Dropout(1.5)", (2,)),
    ("nn.ReflectionPad1d(4)", (2, 3, 4)), ("nn.Softmax2d()", (2, 3)), ("nn.GLU()", (3,)),
    ("nn.Embedding(5, 3)", (2,)),
]  # fmt: skip


@QUIET
@pytest.mark.parametrize("layer", BAD, ids=str)
def test_mistake(layer: tuple[str, Shape]) -> None:
    source, shape = layer
    with pytest.raises((RuntimeError, ValueError, TypeError)) as theirs:
        eval(source, {"nn": torch.nn})(torch.zeros(shape))
    with pytest.raises(theirs.type) as ours:
        eval(source, {"nn": smelt.nn})(smelt.zeros(shape))
    assert len(str(ours.value)) > 20
