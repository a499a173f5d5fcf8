"""Pooling over windows, and adaptive pooling, in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smelt.dispatch import apply
from smelt.functions.operands import expect_tensor, op
from smelt.ir.errors import TypeInferenceError
from smelt.nn.functional.convolution import Sizes, spatial

if TYPE_CHECKING:
    from smelt.tensor import Tensor


def _batched(input: Tensor, rank: int, function: str) -> tuple[Tensor, bool]:
    expect_tensor(input, function, "input")
    if input.dim() == rank + 2:
        return input, True
    if input.dim() == rank + 1:
        return input.unsqueeze(0), False
    raise TypeInferenceError(
        f"{function}: expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input, but got "
        f"input of size: {list(input.shape)}"
    )


def _max_pool(
    rank: int,
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    function = f"max_pool{rank}d"
    x, batched = _batched(input, rank, function)
    kernel = spatial(kernel_size, rank, "kernel_size", function)
    pool = op("max_pool")
    attrs = pool.attrs(
        kernel=kernel,
        stride=spatial(stride, rank, "stride", function) if stride is not None else kernel,
        padding=spatial(padding, rank, "padding", function),
        dilation=spatial(dilation, rank, "dilation", function),
        ceil_mode=ceil_mode,
    )
    out, indices = apply(pool, (x,), attrs)
    if not batched:
        out = out.squeeze(0)
        indices = indices.squeeze(0) if return_indices else indices
    return (out, indices) if return_indices else out


def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the greatest element of each window of [N, C, L], with its place if asked for."""
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the greatest element of each window of [N, C, H, W], with its place if asked for."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the greatest element of each window of [N, C, D, H, W]."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _avg_pool(
    rank: int,
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    function = f"avg_pool{rank}d"
    x, batched = _batched(input, rank, function)
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    kernel = spatial(kernel_size, rank, "kernel_size", function)
    pool = op("avg_pool")
    attrs = pool.attrs(
        kernel=kernel,
        stride=spatial(stride, rank, "stride", function) if stride is not None else kernel,
        padding=spatial(padding, rank, "padding", function),
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor=divisor_override,
    )
    result = apply(pool, (x,), attrs)
    return result if batched else result.squeeze(0)


def avg_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the mean of each window of [N, C, L]."""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of each window of [N, C, H, W]."""
    return _avg_pool(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of each window of [N, C, D, H, W]."""
    return _avg_pool(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _adaptive(
    rank: int, name: str, input: Tensor, output_size: int | Sequence[int | None]
) -> tuple[Any, bool]:
    function = f"{name}{rank}d"
    x, batched = _batched(input, rank, function)
    asked = (output_size,) * rank if isinstance(output_size, int) else tuple(output_size)
    if len(asked) != rank:
        raise TypeInferenceError(f"{function}: output_size must be an int or {rank} of them")
    output = tuple(n if a is None else int(a) for a, n in zip(asked, x.shape[2:]))
    pool = op(name)
    return apply(pool, (x,), pool.attrs(output=output)), batched


def _adaptive_avg(rank: int, input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    result, batched = _adaptive(rank, "adaptive_avg_pool", input, output_size)
    return result if batched else result.squeeze(0)


def _adaptive_max(
    rank: int, input: Tensor, output_size: int | Sequence[int | None], return_indices: bool
) -> Any:
    (out, indices), batched = _adaptive(rank, "adaptive_max_pool", input, output_size)
    if not batched:
        out, indices = out.squeeze(0), indices.squeeze(0)
    return (out, indices) if return_indices else out


def adaptive_avg_pool1d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """Return means of windows chosen so that the result has length `output_size`."""
    return _adaptive_avg(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """Return means of windows chosen so that the result has size `output_size`; None keeps one."""
    return _adaptive_avg(2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """Return means of windows chosen so that the result has size `output_size`; None keeps one."""
    return _adaptive_avg(3, input, output_size)


def adaptive_max_pool1d(
    input: Tensor, output_size: int | Sequence[int | None], return_indices: bool = False
) -> Any:
    """Return the greatest elements of windows chosen to give length `output_size`."""
    return _adaptive_max(1, input, output_size, return_indices)


def adaptive_max_pool2d(
    input: Tensor, output_size: int | Sequence[int | None], return_indices: bool = False
) -> Any:
    """Return the greatest elements of windows chosen to give size `output_size`."""
    return _adaptive_max(2, input, output_size, return_indices)


def adaptive_max_pool3d(
    input: Tensor, output_size: int | Sequence[int | None], return_indices: bool = False
) -> Any:
    """Return the greatest elements of windows chosen to give size `output_size`."""
    return _adaptive_max(3, input, output_size, return_indices)
