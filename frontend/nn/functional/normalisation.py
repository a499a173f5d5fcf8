"""Normalisation by statistics of a batch, a layer, or groups of channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from smelt.autograd.modes import no_grad
from smelt.dispatch import apply
from smelt.functions.operands import expect_tensor, op
from smelt.ir.errors import TypeInferenceError

if TYPE_CHECKING:
    from smelt.tensor import Tensor


def _affine(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: tuple[int, ...]
) -> tuple[Tensor, ...]:
    """Return weight and bias as an op takes them: both, the weight alone, or none."""
    if weight is None and bias is None:
        return ()
    if weight is None:
        weight = x.detach().new_ones(shape)
    return (weight,) if bias is None else (weight, bias)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return (x - mean) / sqrt(var + eps) * weight + bias over the last dimensions.

    Args:
        input: [..., *normalized_shape].
        normalized_shape: sizes of the dimensions that are normalised together.
        weight: of `normalized_shape`, or None.
        bias: of `normalized_shape`, or None.
        eps: added to the variance.
    """
    expect_tensor(input, "layer_norm", "input")
    shape = tuple(int(n) for n in normalized_shape)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        raise TypeInferenceError(
            f"Given normalized_shape={list(shape)}, expected input with shape "
            f"[*, {', '.join(map(str, shape))}], but got input of size{list(input.shape)}"
        )
    norm = op("layer_norm")
    operands = (input, *_affine(input, weight, bias, shape))
    return apply(norm, operands, norm.attrs(dims=len(shape), eps=float(eps)))


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Return x / sqrt(mean(x^2) + eps) * weight over the last dimensions.

    `eps` None is the machine epsilon of the input's dtype.
    """
    from smelt.limits import finfo

    shape = tuple(int(n) for n in normalized_shape)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        raise TypeInferenceError(
            f"Given normalized_shape={list(shape)}, expected input with shape "
            f"[*, {', '.join(map(str, shape))}], but got input of size{list(input.shape)}"
        )
    norm = op("rms_norm")
    chosen = finfo(input.dtype).eps if eps is None else float(eps)
    operands = (input,) if weight is None else (input, weight)
    return apply(norm, operands, norm.attrs(dims=len(shape), eps=chosen))


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel by the batch's statistics in training, by the running ones else.

    Args:
        input: [N, C, ...].
        running_mean: [C]; in training moved towards the batch's by `momentum`.
        running_var: [C]; likewise, by the unbiased variance.
        weight: [C], or None.
        bias: [C], or None.
        training: whether the batch's statistics are used.
        momentum: share of the batch in the new running statistics: a number or a 0-d tensor.
        eps: added to the variance.
    """
    expect_tensor(input, "batch_norm", "input")
    channels = input.shape[1]
    affine = _affine(input, weight, bias, (channels,))
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError("Expected running_mean and running_var in evaluation mode")
        norm = op("batch_norm_inference")
        operands = (input, running_mean, running_var, *affine)
        return apply(norm, operands, norm.attrs(eps=float(eps)))
    count = input.numel() // max(channels, 1)
    if count <= 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size "
            f"{list(input.shape)}"
        )
    norm = op("batch_norm")
    out, mean, var = apply(norm, (input, *affine), norm.attrs(eps=float(eps)))
    if running_mean is not None and running_var is not None:
        with no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            unbiased = var.to(running_var.dtype) * (count / (count - 1))
            running_var.lerp_(unbiased, momentum)
    return out


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each example of [N, C, ...] by itself."""
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    channels = input.shape[1]
    if running_mean is not None and running_var is not None:
        dims = tuple(range(2, input.dim()))
        with no_grad():
            running_mean.lerp_(input.mean(dims).mean(0), momentum)
            running_var.lerp_(input.var(dims).mean(0), momentum)
    return group_norm(input, channels, weight, bias, eps)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise groups of channels of each example of [N, C, ...] together."""
    expect_tensor(input, "group_norm", "input")
    channels = input.shape[1]
    if channels % num_groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input "
            f"of shape {list(input.shape)} and num_groups={num_groups}"
        )
    norm = op("group_norm")
    operands = (input, *_affine(input, weight, bias, (channels,)))
    return apply(norm, operands, norm.attrs(groups=num_groups, eps=float(eps)))


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Return the input divided by its p-norm along dim, at least `eps`."""
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps).expand_as(input)
