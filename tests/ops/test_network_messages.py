"""Messages of windows, normalisations, losses and optimisers: what was expected, what arrived."""

from __future__ import annotations

from typing import Any

import pytest
from smelt.ir import dtypes, registry
from smelt.ir.errors import TypeInferenceError
from smelt.ir.infer import infer_types
from smelt.ir.types import TensorType

F32, I64 = dtypes.float32, dtypes.int64
CONV = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
POOL = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0)}


def f32(*shape: int) -> TensorType:
    return TensorType(F32, shape)


def i64(*shape: int) -> TensorType:
    return TensorType(I64, shape)


MESSAGES: list[tuple[str, tuple[TensorType, ...], dict[str, Any], str]] = [
    (
        "conv",
        (f32(1, 3, 8, 8), f32(4, 2, 3, 3)),
        CONV,
        "conv: x must have 2 * 1 channels, as w asks: x is f32[1,3,8,8], w is f32[4,2,3,3]",
    ),
    (
        "conv",
        (f32(1, 2, 2, 8), f32(4, 2, 3, 3)),
        CONV,
        "conv: the padded input has 2 elements in a spatial dimension, fewer than the 3 that the "
        "kernel reaches over",
    ),
    (
        "conv",
        (f32(1, 4, 8, 8), f32(3, 2, 3, 3)),
        {**CONV, "groups": 2},
        "conv: 3 channels of w, which is f32[3,2,3,3], do not divide into 2 groups",
    ),
    (
        "conv",
        (f32(1, 2, 8, 8), f32(4, 2, 3, 3)),
        {**CONV, "stride": (1, 0)},
        "conv: stride must be 2 numbers, none below 1, not (1, 0)",
    ),
    (
        "conv",
        (f32(1, 2, 8, 8), TensorType(dtypes.float64, (4, 2, 3, 3))),
        CONV,
        "conv: operands differ in dtype: x is f32[1,2,8,8], w is f64[4,2,3,3]",
    ),
    (
        "max_pool",
        (f32(1, 2, 8, 8),),
        {**POOL, "padding": (2, 0), "dilation": (1, 1)},
        "max_pool: padding (2, 0) is more than half of the kernel (2, 2)",
    ),
    (
        "avg_pool",
        (f32(1, 2, 8, 8),),
        {**POOL, "divisor": 0},
        "avg_pool: divisor must not be 0",
    ),
    (
        "layer_norm",
        (f32(2, 3), f32(2)),
        {"dims": 1},
        "layer_norm: weight must have shape [3], but is f32[2]",
    ),
    (
        "group_norm",
        (f32(2, 3, 4),),
        {"groups": 2},
        "group_norm: 3 channels do not divide into 2 groups: x is f32[2,3,4]",
    ),
    (
        "cross_entropy",
        (f32(4, 10), i64(5)),
        {},
        "cross_entropy: target must have shape [4], but is i64[5]",
    ),
    (
        "cross_entropy",
        (f32(4, 10), i64(4)),
        {"reduction": "average"},
        "cross_entropy: reduction must be 'none', 'mean' or 'sum', not 'average'",
    ),
    (
        "mse_loss",
        (f32(4), f32(5)),
        {},
        "mse_loss: operands differ in shape: x is f32[4], y is f32[5]",
    ),
    (
        "scaled_dot_product_attention",
        (f32(2, 3, 4), f32(2, 3, 5), f32(2, 3, 4)),
        {},
        "scaled_dot_product_attention: q [*b,m,d], k [*b,n,d] and v [*b,n,e] do not fit: "
        "q is f32[2,3,4], k is f32[2,3,5], v is f32[2,3,4]",
    ),
    (
        "sgd_plain_step",
        (f32(2), f32(3), f32(), f32()),
        {},
        "sgd_plain_step: operands differ in shape: p is f32[2], g is f32[3]",
    ),
    (
        "index_put",
        (f32(4, 2), f32(3, 2), i64(2)),
        {"dims": (0,)},
        "index_put: values must have shape [2,2], but is f32[3,2]",
    ),
]


@pytest.mark.parametrize("op, types, attrs, message", MESSAGES, ids=lambda v: str(v)[:24])
def test_message(
    op: str, types: tuple[TensorType, ...], attrs: dict[str, Any], message: str
) -> None:
    definition = registry.OPS[op]
    with pytest.raises(TypeInferenceError) as caught:
        infer_types(definition, definition.attrs(**attrs), types)
    assert str(caught.value) == message
