"""Functional forms with arguments that layers do not pass on: results, gradients, mistakes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.parity.comparing import compare

Shape = tuple[int, ...]

# (expression over the framework m and tensors x, y, z; their shapes)
EXPRESSIONS: list[tuple[str, *tuple[Shape, ...]]] = [
    ("F.normalize(x)", (3, 4)), ("F.normalize(x, p=1.0, dim=0)", (3, 4)),
    ("F.relu(x * 1, inplace=True)", (3, 4)), ("F.elu(x * 1, 0.3, inplace=True)", (3, 4)),
    ("F.softmax(x, 0, dtype=m.float64)", (3, 4)), ("F.log_softmax(x, 1, dtype=m.float64)", (3, 4)),
    ("F.softmax(x, 5)", (3, 4)), ("F.gelu(x, approximate='fast')", (3,)),
    ("F.pad(x, (1, -1))", (2, 4)), ("F.pad(x, (-1, 2, 0, 1), value=3.0)", (3, 4)),
    ("F.pad(x, (1, 1, 1, 1), mode='reflect')", (1, 2, 3, 4)),
    ("F.pad(x, (9, 9), 'reflect')", (1, 4)),
    ("F.pad(x, (3, 0), 'circular')", (1, 2, 4)), ("F.pad(x, (1,))", (2, 4)),
    ("F.pad(x, (1, 1), 'none such')", (2, 4)),
    ("F.linear(x, y)", (2, 3), (4, 3)), ("F.linear(x, y[0])", (2, 3), (4, 3)),
    ("F.linear(x, y, z)", (2, 5, 3), (4, 3), (4,)), ("F.linear(x, y)", (2, 3), (4, 2)),
    ("F.bilinear(x, y, z)", (5, 2), (5, 3), (4, 2, 3)),
    ("F.bilinear(x, y, z)", (5, 2), (4, 3), (4, 2, 3)),
    ("F.conv2d(x, y, stride=(2, 1), padding=(0, 1))", (1, 2, 5, 5), (3, 2, 2, 3)),
    ("F.conv2d(x, y, z, groups=2)", (1, 4, 5, 5), (2, 2, 3, 3), (2,)),
    ("F.conv2d(x, y, padding='same', stride=2)", (1, 2, 5, 5), (3, 2, 2, 3)),
    ("F.conv1d(x, y, z)", (1, 4, 5), (2, 4, 3), (3,)),
    ("F.conv1d(x, y, stride=0)", (1, 4, 5), (2, 4, 3)),
    ("F.conv_transpose2d(x, y, stride=2, output_padding=3)", (1, 2, 3, 3), (2, 2, 2, 2)),
    ("F.max_pool2d(x, 2, stride=1, return_indices=True)[1].float() + x.sum()", (1, 2, 4, 4)),
    ("F.max_pool2d(x, 2, padding=2)", (1, 2, 4, 4)),
    ("F.avg_pool2d(x, 2, divisor_override=0)", (1, 2, 4, 4)),
    ("F.avg_pool1d(x, 3, 2, 1, True, False)", (2, 3, 8)),
    ("F.adaptive_avg_pool2d(x, (None, 2))", (1, 2, 4, 5)),
    ("F.layer_norm(x, (3, 4), y, z)", (2, 3, 4), (3, 4), (3, 4)), ("F.layer_norm(x, (3,))", (2, 4)),
    ("F.layer_norm(x, (4,), None, y)", (2, 4), (4,)),
    ("F.rms_norm(x, (4,), y, 1e-3)", (2, 4), (4,)),
    ("F.group_norm(x, 2, y, z)", (2, 4, 3), (4,), (4,)), ("F.group_norm(x, 3)", (2, 4, 3)),
    ("F.batch_norm(x, None, None, y, z, True)", (4, 3), (3,), (3,)),
    ("F.batch_norm(x, None, None)", (4, 3)),
    ("F.batch_norm(x, y.detach(), (y * y).detach() + 1, eps=0.1)", (4, 3), (3,)),
    ("F.instance_norm(x, weight=y, bias=z)", (2, 3, 4), (3,), (3,)),
    ("F.prelu(x, y)", (2, 3, 4), (3,)), ("F.prelu(x, y)", (2, 3, 4), (2,)), ("F.glu(x, 1)", (2, 4)),
    ("F.threshold(x, 0.1, -2)", (3, 4)), ("F.hardtanh(x, 1.0, -1.0)", (3,)),
    ("F.softshrink(x, -1.0)", (3,)), ("F.dropout(x, 0.0)", (3,)), ("F.dropout(x, 1.0)", (3,)),
    ("F.dropout(x, 0.5, training=False)", (3,)), ("F.dropout2d(x, 1.0)", (1, 2, 3, 3)),
    ("F.mse_loss(x, y, weight=z * z + 1)", (3, 4), (3, 4), (3, 4)),
    ("F.mse_loss(x, y)", (3, 4), (3, 1)),
    ("F.l1_loss(x, y)", (3, 4), (2, 4)),
    ("F.smooth_l1_loss(x, y, beta=0.0)", (3, 4), (3, 4)),
    ("F.smooth_l1_loss(x, y, beta=-1.0)", (3,), (3,)),
    ("F.huber_loss(x, y, delta=0.0)", (3,), (3,)),
    ("F.binary_cross_entropy(x.sigmoid(), y.sigmoid().detach(), reduction='sum')", (3, 4), (3, 4)),
    (
        "F.binary_cross_entropy(x.sigmoid(), y.sigmoid().detach(), weight=z.abs().detach())",
        (3,), (3,), (3,),
    ),
    ("F.binary_cross_entropy(x.sigmoid(), y.sigmoid())", (3, 4), (3,)),
    ("F.binary_cross_entropy_with_logits(x, y, pos_weight=z.detach().exp())", (3, 4), (3, 4), (4,)),
    ("F.binary_cross_entropy_with_logits(x, y, weight=z.detach())", (3, 4), (3, 4), (4,)),
    ("F.binary_cross_entropy_with_logits(x, y)", (3, 4), (3, 1)),
    ("F.kl_div(x.log_softmax(1), y.softmax(1), reduction='batchmean')", (3, 4), (3, 4)),
    (
        "F.kl_div(x.log_softmax(1), y.log_softmax(1), reduction='sum', log_target=True)",
        (3, 4), (3, 4),
    ),
    ("F.poisson_nll_loss(x.exp(), y.exp().detach(), log_input=False, full=True)", (3, 4), (3, 4)),
    ("F.gaussian_nll_loss(x, y, z.exp(), full=True)", (3, 4), (3, 4), (3, 4)),
    ("F.cross_entropy(x, m.tensor([0, 3, 1]), weight=y.detach().exp())", (3, 4), (4,)),
    (
        "F.cross_entropy(x, m.tensor([0, -100, 1]), y.detach().exp(), label_smoothing=0.3)",
        (3, 4), (4,),
    ),
    (
        "F.cross_entropy(x, y.softmax(1), z.detach().exp(), label_smoothing=0.2)",
        (3, 4), (3, 4), (4,),
    ),
    ("F.cross_entropy(x, m.tensor([0, 4, 1]))", (3, 4)),
    ("F.cross_entropy(x, m.tensor([0, 1]))", (3, 4)),
    ("F.cross_entropy(x, m.tensor([0, 1, 2]), label_smoothing=2.0)", (3, 4)),
    ("F.nll_loss(x, m.tensor([[0, 1], [2, 2]]), ignore_index=2, reduction='none')", (2, 3, 2)),
    ("F.nll_loss(x, m.tensor([0, 1]), y.detach())", (2, 3), (3,)),
    ("F.cosine_similarity(x, y, 0)", (3, 4), (3, 4)),
    ("F.pairwise_distance(x, y, 1.0)", (3, 4), (4,)),
    ("F.embedding(m.tensor([[1, 0], [2, 2]]), x, padding_idx=-1)", (3, 4)),
    ("F.embedding(m.tensor([1, 3]), x)", (3, 4)), ("F.embedding(m.tensor([1.0]), x)", (3, 4)),
    ("F.embedding(m.tensor([1, 2]), x.detach(), max_norm=0.5) + x.sum()", (3, 4)),
    ("F.one_hot(m.tensor([0, 2])).float() * x", (1, 3)), ("F.one_hot(m.tensor([0, 2]), 2)", ()),
    ("F.one_hot(m.tensor([-1]), 2)", ()),
    ("F.scaled_dot_product_attention(x, y, z)", (2, 3, 4), (2, 5, 4), (2, 5, 6)),
    ("F.scaled_dot_product_attention(x, y, z, is_causal=True)", (3, 4), (3, 4), (3, 2)),
    (
        "F.scaled_dot_product_attention(x, y, z, m.tensor([[True], [False], [True]]).repeat(1, 3))",
        (3, 4), (3, 4), (3, 2),
    ),
    (
        "F.scaled_dot_product_attention(x, y, z, x @ y.transpose(0, 1), scale=0.3)",
        (3, 4), (5, 4), (5, 2),
    ),
    (
        "F.scaled_dot_product_attention(x, y, z, enable_gqa=True)",
        (1, 4, 3, 2), (1, 2, 5, 2), (1, 2, 5, 2),
    ),
    ("F.scaled_dot_product_attention(x, y, z)", (2, 3, 4), (2, 5, 3), (2, 5, 6)),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", EXPRESSIONS, ids=lambda c: f"{c[0]}{c[1]}")
def test_expression(case: tuple[str, *tuple[Shape, ...]]) -> None:
    source, *shapes = case

    def call(m: Any, *tensors: Any) -> Any:
        return eval(source, {"m": m, "F": m.nn.functional, **dict(zip("xyz", tensors))})

    compare(call, *shapes)
