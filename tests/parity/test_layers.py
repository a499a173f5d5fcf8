"""Layers with PyTorch's weights: the same printed form, keys, results, gradients and buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import smelt

torch = pytest.importorskip("torch")

from tests.parity.comparing import expect_same, floats, pull  # noqa: E402

Shape = tuple[int, ...]

# (layer, shapes of its inputs); `nn` is the framework's.
LAYERS: list[tuple[str, *tuple[Shape, ...]]] = [
    ("nn.Linear(4, 3)", (2, 4)), ("nn.Linear(4, 3)", (4,)), ("nn.Linear(4, 3)", (2, 5, 4)),
    ("nn.Linear(4, 3, bias=False)", (0, 4)), ("nn.Bilinear(3, 4, 2)", (5, 3), (5, 4)),
    ("nn.Identity(54)", (2,)), ("nn.Flatten()", (2, 3, 4)), ("nn.Flatten(0, 1)", (2, 3, 4)),
    ("nn.Unflatten(1, (2, 3))", (2, 6, 4)),
    ("nn.Conv1d(2, 4, 3)", (2, 2, 9)), ("nn.Conv2d(2, 4, 3, padding='same')", (2, 2, 5, 6)),
    ("nn.Conv2d(2, 4, 2, padding='same')", (2, 2, 5, 6)), ("nn.Conv2d(2, 4, 3)", (2, 5, 6)),
    ("nn.Conv2d(4, 4, (3, 2), stride=2, padding=(1, 0), groups=2)", (1, 4, 7, 6)),
    ("nn.Conv2d(2, 4, 3, dilation=2, bias=False, padding=2, padding_mode='reflect')", (1, 2, 7, 6)),
    ("nn.Conv2d(2, 2, 3, padding=1, padding_mode='circular')", (1, 2, 4, 5)),
    ("nn.Conv2d(2, 2, 3, padding='same', padding_mode='replicate')", (1, 2, 4, 5)),
    ("nn.Conv3d(2, 3, 2)", (1, 2, 3, 4, 3)),
    ("nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1, output_padding=1)", (2, 2, 5)),
    ("nn.ConvTranspose2d(4, 4, 3, stride=(2, 1), groups=2, dilation=(1, 2))", (1, 4, 3, 4)),
    ("nn.ConvTranspose3d(2, 3, 2, bias=False)", (1, 2, 2, 3, 2)),
    ("nn.MaxPool1d(2)", (2, 2, 7)), ("nn.MaxPool2d(3, stride=2, padding=1)", (2, 2, 7, 6)),
    ("nn.MaxPool2d(2, ceil_mode=True)", (2, 7, 5)), ("nn.MaxPool3d(2)", (1, 2, 4, 4, 4)),
    ("nn.MaxPool2d(2, dilation=2, return_indices=True)", (1, 2, 7, 5)),
    ("nn.AvgPool1d(2)", (2, 2, 7)),
    ("nn.AvgPool2d(3, 2, 1, count_include_pad=False)", (1, 2, 7, 6)),
    ("nn.AvgPool2d(2, ceil_mode=True, divisor_override=3)", (1, 2, 5, 5)),
    ("nn.AvgPool3d(2)", (1, 2, 4, 4, 4)),
    ("nn.AdaptiveAvgPool1d(3)", (1, 2, 7)), ("nn.AdaptiveAvgPool2d((3, None))", (1, 2, 7, 5)),
    ("nn.AdaptiveAvgPool2d(1)", (2, 3, 4, 4)), ("nn.AdaptiveAvgPool3d(2)", (1, 2, 3, 4, 5)),
    ("nn.AdaptiveMaxPool1d(3)", (1, 2, 7)), ("nn.AdaptiveMaxPool2d((3, 2))", (1, 2, 7, 5)),
    ("nn.AdaptiveMaxPool3d(2)", (1, 2, 3, 4, 5)),
    ("nn.BatchNorm1d(3)", (5, 3)), ("nn.BatchNorm1d(3)", (5, 3, 4)),
    ("nn.BatchNorm2d(3)", (4, 3, 2, 5)), ("nn.BatchNorm3d(2, affine=False)", (2, 2, 2, 3, 2)),
    ("nn.BatchNorm2d(3, momentum=None)", (4, 3, 2, 5)),
    ("nn.BatchNorm2d(3, track_running_stats=False, eps=1e-3)", (4, 3, 2, 5)),
    ("nn.LayerNorm(4)", (2, 3, 4)), ("nn.LayerNorm((3, 4), bias=False)", (2, 3, 4)),
    ("nn.LayerNorm(4, elementwise_affine=False, eps=1e-3)", (2, 4)),
    ("nn.GroupNorm(2, 4)", (2, 4, 3)), ("nn.GroupNorm(1, 4, affine=False)", (2, 4, 3, 2)),
    ("nn.InstanceNorm1d(3)", (2, 3, 4)), ("nn.InstanceNorm2d(3, affine=True)", (2, 3, 4, 2)),
    ("nn.InstanceNorm2d(3, track_running_stats=True)", (2, 3, 4, 2)),
    ("nn.InstanceNorm3d(2)", (2, 2, 2, 3, 2)), ("nn.RMSNorm(4)", (2, 3, 4)),
    ("nn.ReLU()", (3, 4)), ("nn.ReLU6()", (3, 4)), ("nn.LeakyReLU(0.2)", (3, 4)),
    ("nn.ELU(0.5)", (3, 4)), ("nn.SELU()", (3, 4)), ("nn.CELU(0.7)", (3, 4)),
    ("nn.GELU()", (3, 4)), ("nn.GELU('tanh')", (3, 4)), ("nn.SiLU()", (3, 4)),
    ("nn.Mish()", (3, 4)), ("nn.Softplus(2.0, 1.0)", (3, 4)), ("nn.Sigmoid()", (3, 4)),
    ("nn.LogSigmoid()", (3, 4)), ("nn.Tanh()", (3, 4)), ("nn.Hardtanh(-0.5, 0.7)", (3, 4)),
    ("nn.Hardsigmoid()", (3, 4)), ("nn.Hardswish()", (3, 4)), ("nn.Softsign()", (3, 4)),
    ("nn.Tanhshrink()", (3, 4)), ("nn.Softshrink(0.3)", (3, 4)), ("nn.Hardshrink(0.3)", (3, 4)),
    ("nn.Threshold(0.1, 7.0)", (3, 4)), ("nn.GLU(0)", (4, 3)), ("nn.Softmax(1)", (3, 4)),
    ("nn.Softmin(0)", (3, 4)), ("nn.LogSoftmax(-1)", (3, 4)), ("nn.Softmax2d()", (2, 3, 2, 2)),
    ("nn.PReLU()", (3, 4)), ("nn.PReLU(4)", (3, 4, 2)),
    ("nn.ZeroPad1d(1)", (2, 3, 4)), ("nn.ZeroPad2d((1, 2, 0, 1))", (2, 3, 4)),
    ("nn.ZeroPad3d(1)", (1, 2, 2, 3, 2)), ("nn.ConstantPad1d((1, 0), 2.5)", (2, 3)),
    ("nn.ConstantPad2d(1, -1)", (2, 3, 4)), ("nn.ConstantPad3d(1, 0.5)", (1, 2, 2, 3, 2)),
    ("nn.ReflectionPad1d(2)", (2, 3, 4)), ("nn.ReflectionPad2d((1, 2, 0, 1))", (2, 3, 4)),
    ("nn.ReflectionPad3d(1)", (1, 2, 2, 3, 2)), ("nn.ReplicationPad1d(2)", (2, 3, 4)),
    ("nn.ReplicationPad2d((1, 2, 0, 1))", (2, 3, 4)), ("nn.CircularPad1d(2)", (2, 3, 4)),
    ("nn.ReplicationPad3d(1)", (1, 2, 2, 3, 2)), ("nn.CircularPad2d((1, 2, 0, 1))", (1, 2, 3, 4)),
    ("nn.CircularPad3d(1)", (1, 2, 2, 3, 2)), ("nn.Dropout(0.0)", (3, 4)),
    ("nn.CosineSimilarity(1)", (3, 4), (3, 4)),
    ("nn.PairwiseDistance(2, keepdim=True)", (3, 4), (3, 4)),
    ("nn.MSELoss()", (3, 4), (3, 4)), ("nn.L1Loss(reduction='sum')", (3, 4), (3, 4)),
    ("nn.SmoothL1Loss(beta=0.5)", (3, 4), (3, 4)), ("nn.HuberLoss(delta=0.5)", (3, 4), (3, 4)),
    ("nn.BCEWithLogitsLoss(reduction='none')", (3, 4), (3, 4)),
    ("nn.PoissonNLLLoss(full=False)", (3, 4), (3, 4)),
    ("nn.HingeEmbeddingLoss(margin=0.5)", (3, 4), (3, 4)),
    ("nn.TripletMarginLoss(margin=0.5)", (3, 4), (3, 4), (3, 4)),
    ("nn.TripletMarginLoss(swap=True, p=1.0)", (3, 4), (3, 4), (3, 4)),
    ("nn.MarginRankingLoss(margin=0.2)", (5,), (5,), (5,)),
    ("nn.CrossEntropyLoss(label_smoothing=0.1)", (3, 4), (3, 4)),
    ("nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Dropout(0.0), nn.Linear(3, 2))", (2, 4)),
]  # fmt: skip

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
