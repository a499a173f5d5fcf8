"""Products with weights, and the attention made of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from smelt.dispatch import apply
from smelt.functions.operands import expect_tensor, op
from smelt.ir.dtypes import bool_
from smelt.ir.errors import DTypeError, TypeInferenceError
from smelt.nn.functional.dropout import dropout

if TYPE_CHECKING:
    from smelt.tensor import Tensor


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return input @ weight.T + bias.

    Args:
        input: [..., in].
        weight: [out, in].
        bias: [out], or None.

    Returns:
        [..., out].
    """
    expect_tensor(input, "linear", "input")
    expect_tensor(weight, "linear", "weight")
    if not input._sizes:
        raise TypeInferenceError("linear: the input must have at least one dimension")
    if weight.dim() == 1:
        result = input.matmul(weight)
        return result if bias is None else result + bias
    operands = (input, weight) if bias is None else (input, weight, bias)
    return apply(op("linear"), operands)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return input1 @ weight[k] @ input2 for each output feature k, plus bias.

    Args:
        input1: [..., in1].
        input2: [..., in2].
        weight: [out, in1, in2].
        bias: [out], or None.
    """
    out, in1, in2 = weight.shape
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            "bilinear(): input batch dimensions do not match: got "
            f"{list(input1.shape)} and {list(input2.shape)}"
        )
    if (input1.shape[-1], input2.shape[-1]) != (in1, in2):
        raise RuntimeError(
            f"bilinear(): weight of shape {list(weight.shape)} does not fit inputs of shapes "
            f"{list(input1.shape)} and {list(input2.shape)}"
        )
    flat = input1.reshape(-1, in1).matmul(weight.permute(1, 0, 2).reshape(in1, out * in2))
    product = (flat.reshape(-1, out, in2) * input2.reshape(-1, 1, in2)).sum(-1)
    result = product.reshape(*input1.shape[:-1], out)
    return result if bias is None else result + bias


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return softmax(query @ key.T * scale + mask) @ value.

    Args:
        query: [..., L, E].
        key: [..., S, E].
        value: [..., S, V].
        attn_mask: broadcasts to [..., L, S]: bool (False is masked off), or added to the scores.
        dropout_p: probability with which weights are zeroed.
        is_causal: whether position i sees only positions up to i; excludes `attn_mask`.
        scale: factor of the scores; None: 1 / sqrt(E).
        enable_gqa: whether groups of query heads share a head of key and value.

    Returns:
        [..., L, V].
    """
    if is_causal and attn_mask is not None:
        raise RuntimeError("Explicit attn_mask should not be set when is_causal=True")
    for name, x in (("key", key), ("value", value)):
        if x.dtype is not query.dtype:
            raise DTypeError(
                f"Expected query, key, and value to have the same dtype, but got query: "
                f"{query.dtype!r} and {name}: {x.dtype!r}"
            )
    if enable_gqa and query.shape[-3] != key.shape[-3]:
        groups = query.shape[-3] // key.shape[-3]
        key = key.repeat_interleave(groups, -3)
        value = value.repeat_interleave(groups, -3)
    if attn_mask is not None:
        full = (*query.shape[:-1], key.shape[-2])
        attn_mask = attn_mask.expand(full)
        if not attn_mask.dtype.is_floating_point:
            zero = query.detach().new_zeros(())
            attn_mask = zero.masked_fill(~attn_mask, -math.inf)
        elif attn_mask.dtype is not query.dtype:
            attn_mask = attn_mask.to(query.dtype)
    if dropout_p == 0.0:
        attention = op("scaled_dot_product_attention")
        operands = (query, key, value) if attn_mask is None else (query, key, value, attn_mask)
        return apply(attention, operands, attention.attrs(causal=is_causal, scale=scale))
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = query.matmul(key.transpose(-2, -1)) * factor
    if is_causal:
        seen = scores.detach().new_ones(scores.shape[-2:]).tril().to(bool_)
        scores = scores.masked_fill(~seen, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return dropout(scores.softmax(-1), dropout_p).matmul(value)
