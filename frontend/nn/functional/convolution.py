"""Convolutions in one, two and three dimensions, and their transposes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from smelt.dispatch import apply
from smelt.functions import joining
from smelt.functions.operands import expect_tensor, op
from smelt.ir.errors import ArgumentError, DTypeError, TypeInferenceError

if TYPE_CHECKING:
    from smelt.tensor import Tensor

Sizes = int | Sequence[int]


def spatial(value: Sizes, rank: int, name: str, function: str) -> tuple[int, ...]:
    """Return one number a spatial dimension.

    Raises:
        ArgumentError: neither a number nor `rank` of them.
    """
    if isinstance(value, int):
        return (value,) * rank
    numbers = tuple(int(v) for v in value)
    if len(numbers) == 1:
        return numbers * rank
    if len(numbers) != rank:
        raise ArgumentError(
            f"{function}: {name} must be an int or {rank} ints, but got {list(numbers)}"
        )
    return numbers


def _batched(input: Tensor, weight: Tensor, rank: int, function: str) -> tuple[Tensor, bool]:
    expect_tensor(input, function, "input")
    expect_tensor(weight, function, "weight")
    if input.dtype is not weight.dtype:
        raise DTypeError(
            f"{function}: input ({input.dtype.torch_name}) and weight "
            f"({weight.dtype.torch_name}) should have the same dtype"
        )
    if weight.dim() != rank + 2:
        raise TypeInferenceError(
            f"{function}: expected a weight of {rank + 2} dimensions, but got shape "
            f"{list(weight.shape)}"
        )
    if input.dim() == rank + 2:
        return input, True
    if input.dim() == rank + 1:
        return input.unsqueeze(0), False
    raise TypeInferenceError(
        f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {function}, but got "
        f"input of size: {list(input.shape)}"
    )


def _with_bias(result: Tensor, bias: Tensor | None, rank: int, function: str) -> Tensor:
    if bias is None:
        return result
    if bias.dim() != 1 or bias.shape[0] != result.shape[1]:
        raise TypeInferenceError(
            f"{function}: expected bias to be 1-dimensional with {result.shape[1]} elements, but "
            f"got bias of size {list(bias.shape)}"
        )
    return result + bias.reshape(1, -1, *[1] * rank)


def _conv(
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes | str,
    dilation: Sizes,
    groups: int,
) -> Tensor:
    function = f"conv{rank}d"
    x, batched = _batched(input, weight, rank, function)
    strides = spatial(stride, rank, "stride", function)
    dilations = spatial(dilation, rank, "dilation", function)
    if isinstance(padding, str):
        x, paddings = _named_padding(padding, x, weight, strides, dilations, function)
    else:
        paddings = spatial(padding, rank, "padding", function)
    conv = op("conv")
    attrs = conv.attrs(stride=strides, padding=paddings, dilation=dilations, groups=groups)
    result = _with_bias(apply(conv, (x, weight), attrs), bias, rank, function)
    return result if batched else result.squeeze(0)


def _named_padding(
    padding: str,
    x: Tensor,
    weight: Tensor,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    function: str,
) -> tuple[Tensor, tuple[int, ...]]:
    none = (0,) * len(strides)
    if padding == "valid":
        return x, none
    if padding != "same":
        raise ValueError(f"{function}: padding must be 'valid', 'same' or ints, not {padding!r}")
    if any(s != 1 for s in strides):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    totals = [d * (k - 1) for d, k in zip(dilations, weight.shape[2:])]
    if all(t % 2 == 0 for t in totals):
        return x, tuple(t // 2 for t in totals)
    sides: list[int] = []
    for total in reversed(totals):
        sides += [total // 2, total - total // 2]
    return joining.pad_constant(x, sides, 0.0), none


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Correlate [N, C, L] (or [C, L]) with weights [out, C / groups, K]."""
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Correlate [N, C, H, W] (or [C, H, W]) with weights [out, C / groups, KH, KW]."""
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Correlate [N, C, D, H, W] (or without N) with weights [out, C / groups, KD, KH, KW]."""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Tensor:
    function = f"conv_transpose{rank}d"
    x, batched = _batched(input, weight, rank, function)
    conv = op("conv_transpose")
    attrs = conv.attrs(
        stride=spatial(stride, rank, "stride", function),
        padding=spatial(padding, rank, "padding", function),
        output_padding=spatial(output_padding, rank, "output_padding", function),
        dilation=spatial(dilation, rank, "dilation", function),
        groups=groups,
    )
    result = _with_bias(apply(conv, (x, weight), attrs), bias, rank, function)
    return result if batched else result.squeeze(0)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Apply the transpose of `conv1d`; weights [C, out / groups, K]."""
    return _conv_transpose(
        1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Apply the transpose of `conv2d`; weights [C, out / groups, KH, KW]."""
    return _conv_transpose(
        2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Apply the transpose of `conv3d`; weights [C, out / groups, KD, KH, KW]."""
    return _conv_transpose(
        3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )
